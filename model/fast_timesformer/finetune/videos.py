"""Clips of videos as a data set.

Letters: F frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

# Clips are decoded once and kept, where all of them fit into this.
KEPT_BYTES = 2**30


class VideoClips(Dataset[tuple[Tensor, int]]):
    """(x_FCHW, class) of each of ``files``, read by ``load``; all of them are kept where they fit into KEPT_BYTES.

    Args:
        files: each video and its class.
        load: a video's clip, or its views (V, F, C, H, W), always the same.
        vary: a video's clip for given numbers, which say what is drawn; None: clips do not vary.
        made_by: how clips are made, in plain values; a training goes on with the same alone.
    """

    def __init__(
        self,
        files: Sequence[tuple[Path, int]],
        load: Callable[[Path], npt.NDArray[np.float32]],
        *,
        vary: Callable[[Path, Sequence[int]], npt.NDArray[np.float32]] | None = None,
        made_by: Mapping[str, Any] | None = None,
    ) -> None:
        self._files, self._load, self._vary = tuple(files), load, vary
        self.made_by = dict(made_by or {})
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self._files[index]
        if index not in self._kept:
            clip = torch.from_numpy(self._load(path))
            if clip.nbytes * len(self._files) > KEPT_BYTES:
                return clip, label
            self._kept[index] = clip
        return self._kept[index], label

    def in_epoch(self, seed: int, epoch: int) -> Dataset[tuple[Tensor, int]]:
        """The clips as they are in that epoch: what varies is drawn from seed, epoch and the clip's place alone."""
        return self if self._vary is None else _Varied(self._files, self._vary, (seed, epoch))


class _Varied(Dataset[tuple[Tensor, int]]):
    def __init__(self, files: Any, vary: Any, drawn_by: tuple[int, int]) -> None:
        self._files, self._vary, self._drawn_by = files, vary, drawn_by

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self._files[index]
        return torch.from_numpy(self._vary(path, (*self._drawn_by, index))), label
