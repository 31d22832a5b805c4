"""Clips of videos as a data set.

Letters: F frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

# Clips are decoded once and kept, where all of them fit into this.
KEPT_BYTES = 2**30


class VideoClips(Dataset[tuple[Tensor, int]]):
    """(x_FCHW, class) of each of ``files``, read by ``load``; all of them are kept where they fit into KEPT_BYTES."""

    def __init__(self, files: Sequence[tuple[Path, int]], load: Callable[[Path], npt.NDArray[np.float32]]) -> None:
        self._files, self._load = tuple(files), load
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
