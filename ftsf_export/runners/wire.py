"""How a runner and its child process talk: messages of a JSON object and named arrays, over a pair of pipes."""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_LENGTH_BYTES = 8


def send(stream: IO[bytes], head: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
    """One message: each of its two parts after its length. Raises OSError when the other side is gone."""
    body = io.BytesIO()
    np.savez(body, allow_pickle=False, **{f"value/{name}": array for name, array in (arrays or {}).items()})
    for part in (json.dumps(dict(head)).encode(), body.getvalue()):
        stream.write(len(part).to_bytes(_LENGTH_BYTES, "big"))
        stream.write(part)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], OrderedDict[str, Array]] | None:
    """The next message, its arrays in the order in which they were given; None when the other side has closed.

    Raises EOFError when it closed within a message.
    """
    first = stream.read(_LENGTH_BYTES)
    if not first:
        return None
    head = json.loads(_exactly(stream, _number(first)))
    body = io.BytesIO(_exactly(stream, _number(_exactly(stream, _LENGTH_BYTES))))
    with np.load(body, allow_pickle=False) as stored:
        return head, OrderedDict((key.removeprefix("value/"), stored[key]) for key in stored.files)


def _number(part: bytes) -> int:
    if len(part) != _LENGTH_BYTES:
        raise EOFError(f"the other side closed within a message, after {len(part)} bytes")
    return int.from_bytes(part, "big")


def _exactly(stream: IO[bytes], count: int) -> bytes:
    part = stream.read(count)
    if len(part) != count:
        raise EOFError(f"the other side closed within a message: expected {count} bytes, got {len(part)}")
    return part
