"""How a parent and its child talk: frames of one JSON value and named arrays, over a pair of pipes. Nothing is pickled.

A frame is the length of its head (8 bytes, the highest first), the head in JSON, and the bytes of its arrays in the
head's order. NumPy is imported by the first frame with an array: a child can tell that there is no NumPy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# What a frame is: a request of the parent; an answer, an error or a remark in the midst of the work of the child.
CALL, ANSWER, ERROR, NOTE = "call", "answer", "error", "note"
# The child's first bytes: what its start-up printed before them is no frame.
START = b"\0ftsf-channel\0"
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class Message:
    """What one side hands to the other."""

    value: Any = None  #: Anything that JSON can say; tuples arrive as lists.
    #: Name -> array of numbers, booleans or text, which arrives with its type and shape, in this order.
    arrays: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)


def send(stream: IO[bytes], kind: str, message: Message) -> None:
    """Write one frame. Raises TypeError, with nothing written, for what cannot travel; OSError without a reader."""
    arrays = _packed(message.arrays)
    head = {
        "kind": kind,
        "value": message.value,
        "arrays": [(name, array.dtype.str, array.shape) for name, array in arrays.items()],
    }
    text = json.dumps(head).encode()
    # In one call: a destructor that logs may run between any two lines of Python, and send a frame of its own.
    stream.writelines([len(text).to_bytes(_LENGTH_BYTES, "big") + text, *map(_bytes_of, arrays.values())])
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[str, Message]:
    """The kind and content of the next frame. Raises EOFError when the other side is gone, within a frame or before."""
    length = int.from_bytes(_read(stream, bytearray(_LENGTH_BYTES)), "big")
    head = json.loads(_read(stream, bytearray(length)))
    arrays = {}
    if head["arrays"]:
        import numpy as np

        for name, dtype, shape in head["arrays"]:
            arrays[name] = np.empty(shape, dtype)
            _read(stream, _bytes_of(arrays[name]))
    return head["kind"], Message(head["value"], arrays)


def skip_to_start(stream: IO[bytes]) -> None:
    """Leave out everything before START. Raises EOFError when it never comes."""
    last = b""
    while last != START:
        last = (last + _read(stream, bytearray(1)))[-len(START) :]


def _packed(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    if not arrays:
        return {}
    import numpy as np

    packed = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in packed.items():
        # "V" is raw memory, which ml_dtypes' bfloat16 would come back as.
        if array.dtype.kind in "OV":
            raise TypeError(f"array {name!r}: elements of type {array.dtype} do not travel between processes")
    return packed


def _bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    """The array's own memory, byte by byte."""
    return array.reshape(-1).view("u1").data


def _read(stream: IO[bytes], into: Any) -> Any:
    """Fill ``into``, and give it back."""
    view, filled = memoryview(into), 0
    while filled < len(view):
        count = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError(f"the other side is gone: expected {len(view)} bytes, got {filled}")
        filled += count
    return into
