"""Bytes that were damaged, and things in the place of a file that are none."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random


def damaged(draw: Random, data: bytes) -> tuple[bytes, str]:
    """``data`` with one kind of damage, never the same as before, and what was done."""
    if not data:
        return b"\0", "one byte instead of none"
    for _ in range(20):
        changed, what = draw.choice(_DAMAGES)(draw, bytearray(data))
        if bytes(changed) != data:
            return bytes(changed), what
    return data + b"\0", "a byte more"


def _flip(draw: Random, data: bytearray) -> tuple[bytearray, str]:
    count = draw.choice((1, 1, 1, 4, 64))
    places = [draw.randrange(len(data)) for _ in range(count)]
    for place in places:
        data[place] ^= 1 << draw.randrange(8)
    return data, f"{count} bits flipped, the first in byte {places[0]} of {len(data)}"


def _flip_at_start(draw: Random, data: bytearray) -> tuple[bytearray, str]:
    place = draw.randrange(min(64, len(data)))
    data[place] = draw.randrange(256)
    return data, f"byte {place} is {data[place]}"


def _flip_at_end(draw: Random, data: bytearray) -> tuple[bytearray, str]:
    place = len(data) - 1 - draw.randrange(min(256, len(data)))
    data[place] = draw.randrange(256)
    return data, f"byte {place} of {len(data)} is {data[place]}"


def _cut(draw: Random, data: bytearray) -> tuple[bytearray, str]:
    size = draw.choice((0, 1, 7, len(data) // 2, len(data) - 1, draw.randrange(len(data))))
    return data[:size], f"cut to {size} of {len(data)} bytes"


def _longer(draw: Random, data: bytearray) -> tuple[bytearray, str]:
    more = draw.choice((b"\0", b"\0" * 4096, draw.randbytes(100), bytes(data[:1000])))
    return data + more, f"{len(more)} bytes more"


def _range(draw: Random, data: bytearray) -> tuple[bytearray, str]:
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice((1, 8, 256, 65_536)))
    how = draw.choice(("zeros", "ones", "noise", "gone", "twice"))
    size = end - start
    fills = {"zeros": b"\0" * size, "ones": b"\xff" * size, "noise": draw.randbytes(size), "gone": b""}
    fills["twice"] = bytes(data[start:end]) * 2
    data[start:end] = fills[how]
    return data, f"bytes {start} to {end}: {how}"


def _word(draw: Random, data: bytearray) -> tuple[bytearray, str]:
    """A whole number somewhere becomes a wild one: sizes, counts and offsets are such."""
    width, order = draw.choice((2, 4, 8)), draw.choice(("little", "big"))
    place = draw.randrange(max(1, min(len(data), draw.choice((64, 1024, len(data)))) - width))
    value = draw.choice((0, 1, (1 << 8 * width) - 1, 1 << (8 * width - 1), 1 << 4 * width, draw.randrange(65_536)))
    data[place : place + width] = value.to_bytes(width, order)
    return data, f"{width} bytes at {place} are {value} ({order} endian)"


def _noise(draw: Random, data: bytearray) -> tuple[bytearray, str]:
    return bytearray(draw.randbytes(min(len(data), 4096))), "noise"


_DAMAGES = (_flip, _flip, _flip_at_start, _flip_at_end, _cut, _longer, _range, _range, _word, _word, _noise)


def put_special(draw: Random, path: Path, outside: Path) -> str:
    """Something that is no regular file in the place of ``path``, whose content moves to ``outside``; what it is."""
    content = outside / "moved"
    if path.exists() or path.is_symlink():
        path.rename(content)
    else:
        content.write_bytes(b"outside")
    path.parent.mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[], object]] = {
        "a link to the same content outside": lambda: path.symlink_to(os.path.relpath(content, path.parent)),
        "an absolute link to the same content": lambda: path.symlink_to(content.absolute()),
        "a link to nowhere": lambda: path.symlink_to("nowhere"),
        "a link to itself": lambda: path.symlink_to(path.name),
        "a link to /dev/zero": lambda: path.symlink_to("/dev/zero"),
        "a link to a terminal": lambda: path.symlink_to("/dev/tty"),
        "a link to a file of the user": lambda: path.symlink_to(os.path.relpath(outside / "secret", path.parent)),
        "a FIFO": lambda: os.mkfifo(path),
        "a socket": lambda: _bind(path),
        "a folder": path.mkdir,
        "an empty file": path.touch,
        "a file with a hole of a terabyte": lambda: _hole(path),
    }
    what = draw.choice(list(makers))
    makers[what]()
    return what


def _bind(path: Path) -> None:
    # A socket's address is short: the relative one.
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(os.path.relpath(path))


def _hole(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)
