"""NumPy's scalars in a pickle, read as plain numbers.

Training code keeps figures beside its weights ("best_accuracy"), and a figure of NumPy is pickled as a call of NumPy's
``scalar`` with a ``dtype`` and bytes. These two stand in the place of NumPy's own while torch's reader of weights
alone reads: they know a few kinds of numbers, and no code of NumPy is called with what a stranger wrote.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

# NumPy's code of a kind -> struct's.
_KINDS = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip
_ORDERS = {"<": "<", ">": ">", "|": "<", "=": "="}


class Kind:
    """In the place of ``numpy.dtype``: which number the bytes are."""

    def __init__(self, code: object, *_flags: object) -> None:
        known = isinstance(code, str) and re.fullmatch(r"[a-z]\d", code) and _KINDS.get(code)
        if not known:
            raise UnpicklingError(f"numpy.dtype: expected one of {', '.join(_KINDS)}, got {code!r}")
        self.format = known
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else ""
        if order not in _ORDERS:
            raise UnpicklingError(f"numpy.dtype: expected an order of bytes, got {order!r}")
        self.order = _ORDERS[order]


def number(kind: object, data: object) -> float | int | bool:
    """In the place of ``numpy.core.multiarray.scalar``."""
    if not isinstance(kind, Kind) or not isinstance(data, bytes):
        raise UnpicklingError("numpy scalar: expected a kind of number and its bytes")
    try:
        (value,) = struct.unpack(kind.order + kind.format, data)
    except struct.error as error:
        raise UnpicklingError(f"numpy scalar: {error}") from error
    found: float | int | bool = value
    return found


# What stands in for whose name, as ``torch.serialization.safe_globals`` takes it; NumPy 2 renamed its package.
STAND_INS: tuple[tuple[Callable[..., Any], str], ...] = (
    (Kind, "numpy.dtype"),
    (number, "numpy.core.multiarray.scalar"),
    (number, "numpy._core.multiarray.scalar"),
)
