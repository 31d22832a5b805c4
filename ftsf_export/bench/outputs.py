"""What goes in and what must come out before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.errors import RunError

Array = npt.NDArray[Any]
Shapes = Mapping[str, tuple[int, ...]]


def batch_of_clips(clips: Array, size: int) -> Array:
    """(n, ...) -> (size, ...): the first clips, over again where there are too few. Contiguous."""
    return np.ascontiguousarray(clips[np.arange(size) % len(clips)])


def check_outputs(outputs: Mapping[str, Array], shapes: Shapes, subject: str) -> None:
    """Raises RunError unless the outputs are those named, of these shapes, with finite values.

    A file that gives NaN, or nothing, has no speed.
    """
    if not shapes or set(outputs) != set(shapes):
        raise RunError(f"{subject}: expected outputs {sorted(shapes)}, got {sorted(outputs)}; not timed")
    for name, shape in shapes.items():
        values = np.asarray(outputs[name])
        if values.shape != shape:
            raise RunError(f"{subject}: {name}: expected shape {shape}, got {values.shape}; not timed")
        if not np.isfinite(values).all():
            worst = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise RunError(f"{subject}: {name} is {values[worst]} at {list(worst)}; not timed; run: ftsf verify")
