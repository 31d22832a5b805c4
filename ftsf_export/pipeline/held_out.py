"""Held-out videos as clips, and what a runner says of them. Clips lie on the disk: hundreds of them are gigabytes.

Letters: n clips, L classes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.config import BatchRange
from ftsf_export.disk import scratch_folder, scratch_refusals_translated
from ftsf_export.network.scope import LOGITS
from ftsf_export.parity.compare import outputs_of
from ftsf_export.progress import OnProgress
from ftsf_export.video.class_folder import class_folder
from ftsf_export.video.clip import clip_from_video

_CALL = 64


@dataclass(frozen=True)
class HeldOut:
    """Clips and their right answers."""

    values: npt.NDArray[Any]  #: (n, ...) as the graph takes them, on the disk.
    classes: npt.NDArray[np.int64] | None  #: (n,) places in the labels; None where they are not known.

    def logits_of(self, runner: Any, *, batch: BatchRange) -> npt.NDArray[Any]:
        """(n, L) of one runner. Raises as ``outputs_of``."""
        parts = (
            np.ascontiguousarray(self.values[start : start + _CALL]) for start in range(0, len(self.values), _CALL)
        )
        return np.concatenate([outputs_of(runner, part, batch=batch)[LOGITS] for part in parts])


@contextmanager
def held_out_clips(
    folder: Path | None, how: Preprocessing, labels: tuple[str, ...] | None, on_progress: OnProgress
) -> Iterator[HeldOut | None]:
    """The videos of ``folder`` as clips, while it lasts; None where there is no folder.

    Raises VideoError for a video that does not read, and for a class that is not among ``labels``;
    OutputError where the clips have no room among the temporary files.
    """
    if folder is None:
        yield None
        return
    found = class_folder(folder)
    indexed = found.indexed(labels) if labels is not None else None
    shape = (len(found.files), *how.clip_shape)
    with scratch_folder("ftsf-held-out-") as place:
        values = on_disk(place / "clips", shape, np.dtype(how.dtype))
        for index, (video, _) in enumerate(found.files):
            values[index] = clip_from_video(video, how).values
            on_progress("read the held-out videos", (index + 1) / len(found.files))
        classes = None if indexed is None else np.asarray([place for _, place in indexed], np.int64)
        yield HeldOut(values, classes)


def on_disk(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Zeros whose place on the disk is taken at once: in a file with holes a full disk is a bus error later."""
    with scratch_refusals_translated(), path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, math.prod(shape) * dtype.itemsize)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)
