"""A synthetic data set that motion alone tells apart: a textured square moves over noise, its class is the direction.

The picture is a torus: what leaves it on one side comes in on the other, so the square's place is uniform in every
frame of every class. No single frame says anything; a model that does better than chance has read time. Made from a
seed alone: the same numbers on every machine.

Letters: n clips, F frames, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

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
COUNTS = (4, 8)
LEAST_SIZE = 16
# Pixels a frame. Twice the most is less than the least size, so the way round the torus is never the shorter one.
_LEAST_SPEED, _MOST_SPEED = 2, 4
# Room for as many clips in one set before the next seed's set would repeat them.
_SEEDS_APART = 1_000_003


@dataclass(frozen=True)
class Motion:
    """Which clips: ``directions`` classes (4 or 8), ``frames`` frames of ``size`` x ``size`` pixels.

    Raises ValueError naming the field: the square needs room to move at its greatest speed.
    """

    directions: int = 4
    frames: int = 8
    size: int = 32

    def __post_init__(self) -> None:
        if self.directions not in COUNTS:
            raise ValueError(f"directions: expected one of {', '.join(map(str, COUNTS))}, got {self.directions}")
        if self.frames < 2:
            raise ValueError(f"frames: expected at least 2, since one frame has no direction; got {self.frames}")
        if self.size < LEAST_SIZE:
            raise ValueError(f"size: expected at least {LEAST_SIZE} px, got {self.size}")

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the class folders: sorted."""
        return tuple(sorted(list(DIRECTIONS)[: self.directions]))

    def clip(self, index: int, *, seed: int) -> tuple[Tensor, int]:
        """Clip ``index`` of the endless set ``seed``: (F, H, W) uint8, and its class; classes take turns."""
        generator = torch.Generator().manual_seed(seed * _SEEDS_APART + index)
        label = index % self.directions
        side = _between(self.size // 5, self.size // 3, generator)
        speed = _between(_LEAST_SPEED, _MOST_SPEED, generator)
        place = [_between(0, self.size - 1, generator) for _ in range(2)]
        step = [speed * way for way in DIRECTIONS[self.labels[label]]]
        clip = torch.randint(0, 110, (self.frames, self.size, self.size), generator=generator, dtype=torch.uint8)
        square = torch.randint(150, 256, (side, side), generator=generator, dtype=torch.uint8)
        for frame in range(self.frames):
            row, column = (torch.arange(side) + place[axis] + step[axis] * frame for axis in range(2))
            clip[frame, (row % self.size)[:, None], column % self.size] = square
        return clip, label


def _between(low: int, high: int, generator: torch.Generator) -> int:
    """A whole number, both ends included."""
    return int(torch.randint(low, high + 1, (1,), generator=generator))


class MotionClips(Dataset[tuple[Tensor, int]]):
    """``count`` clips of ``motion``, as a model takes them: (F, 3, H, W) float32, grey, minus ``mean`` over ``std``."""

    def __init__(self, motion: Motion, count: int, *, seed: int, mean: float = 0.45, std: float = 0.225) -> None:
        self._clips, self._labels = zip(*(motion.clip(index, seed=seed) for index in range(count)), strict=True)
        self._mean, self._std = mean, std

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        grey_FHW = (self._clips[index].float() / 255 - self._mean) / self._std
        return grey_FHW[:, None].expand(-1, 3, -1, -1), self._labels[index]
