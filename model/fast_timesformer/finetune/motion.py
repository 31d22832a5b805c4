"""A synthetic data set that only the order of frames tells apart: a textured square moves over noise, its class is the
direction.

A clip to the left is distributed as one to the right played backwards: the frames as a set say along which line the
square moves and nothing of the way, so a model that is blind to time stays at half of the classes right. Made from a
seed alone: the same numbers on every machine.

Letters: n clips, F frames, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from fast_timesformer.config import PIXEL_MEAN, PIXEL_STD
from fast_timesformer.finetune.settings import DIRECTION_COUNTS, SettingsError
from fast_timesformer.rules import choice, number, whole, wrong_fields

# Name -> step (down, right). The four straight ones first: ``--directions 4`` is the first four.
DIRECTIONS: dict[str, tuple[int, int]] = {
    "left": (0, -1),
    "right": (0, 1),
    "up": (-1, 0),
    "down": (1, 0),
    "up-left": (-1, -1),
    "up-right": (-1, 1),
    "down-left": (1, -1),
    "down-right": (1, 1),
}
LEAST_SIZE = 16
_RULES = {
    "directions": choice(*DIRECTION_COUNTS),
    "frames": number("at least 2, since one frame has no direction", lambda value: value >= 2),
    "size": whole(LEAST_SIZE),
}
# Room for as many clips in one set before the next seed's set would repeat them.
_SEEDS_APART = 1_000_003


@dataclass(frozen=True)
class Motion:
    """Which clips. Raises SettingsError naming the field: the square needs room to move at its greatest speed."""

    directions: int = DIRECTION_COUNTS[0]  #: Classes, 4 or 8.
    frames: int = 4  #: Frames of a clip.
    size: int = 32  #: Height and width of a frame in pixels.

    def __post_init__(self) -> None:
        if problems := wrong_fields(self, _RULES):
            raise SettingsError(problems)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the class folders: sorted."""
        return tuple(sorted(list(DIRECTIONS)[: self.directions]))

    def clip(self, index: int, *, seed: int) -> tuple[Tensor, int]:
        """Clip ``index`` of the endless set ``seed``: (F, H, W) uint8, and its class; classes take turns."""
        generator = torch.Generator().manual_seed(seed * _SEEDS_APART + index)
        label = index % self.directions
        side = int(torch.randint(self.size // 5, self.size // 3 + 1, (1,), generator=generator))
        # From end to end of the clip: a quarter to a half of the frame, whatever the number of frames.
        travel = self.size * (1 + float(torch.rand(1, generator=generator))) / 4
        paths = [self._path(way * travel, self.size - side, generator) for way in DIRECTIONS[self.labels[label]]]
        clip = torch.randint(0, 64, (self.frames, self.size, self.size), generator=generator, dtype=torch.uint8)
        square = torch.randint(160, 256, (side, side), generator=generator, dtype=torch.uint8)
        for frame, (top, left) in enumerate(zip(*paths, strict=True)):
            clip[frame, top : top + side, left : left + side] = square
        return clip, label

    def _path(self, travel: float, room: int, generator: torch.Generator) -> list[int]:
        """Places 0..room along one axis, one a frame, ``travel`` pixels from first to last; its lower end is random."""
        low = (room - abs(travel)) * float(torch.rand(1, generator=generator))
        start = low if travel >= 0 else low - travel
        return [round(start + travel * frame / (self.frames - 1)) for frame in range(self.frames)]


class MotionClips(Dataset[tuple[Tensor, int]]):
    """``count`` clips of ``motion``, as a model takes them: (F, 3, H, W) float32, grey, minus ``mean`` over ``std``."""

    def __init__(
        self, motion: Motion, count: int, *, seed: int, mean: float = PIXEL_MEAN, std: float = PIXEL_STD
    ) -> None:
        self._clips, self._labels = zip(*(motion.clip(index, seed=seed) for index in range(count)), strict=True)
        self._mean, self._std = mean, std

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        grey_FHW = (self._clips[index].float() / 255 - self._mean) / self._std
        return grey_FHW[:, None].expand(-1, 3, -1, -1), self._labels[index]
