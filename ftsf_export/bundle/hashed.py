"""Reading a file once, front to back, with its hash: what was read and what was hashed are the same bytes."""

from __future__ import annotations

import hashlib
from io import FileIO
from typing import Protocol

_CHUNK_BYTES = 1 << 20


class Sink(Protocol):
    """Takes what was read: a file that is open for writing, or a buffer."""

    def write(self, data: bytes, /) -> object: ...


class CutShort(ValueError):
    """The file ends before what it holds is complete."""


class HashedReader:
    """Goes through the first ``size`` bytes of a file; each of them is hashed, and given to ``sink``, as it is read.

    Args:
        stream: without a buffer.
        size: how many bytes the file is to have.
        sink: takes them all; None: nobody does.
    """

    def __init__(self, stream: FileIO, size: int, sink: Sink | None = None) -> None:
        self.at = 0
        self.size = size
        self._stream, self._sink = stream, sink
        self._digest = hashlib.sha256()
        self._chunk, self._next, self._unread = b"", 0, size

    def byte(self) -> int:
        """The next byte. Raises CutShort at the end."""
        if self._next == len(self._chunk):
            self._fill()
        value = self._chunk[self._next]
        self._next += 1
        self.at += 1
        return value

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes. Raises CutShort where there are fewer."""
        parts = []
        while count:
            if self._next == len(self._chunk):
                self._fill()
            part = self._chunk[self._next : self._next + count]
            parts.append(part)
            self._advance(len(part))
            count -= len(part)
        return b"".join(parts)

    def skip(self, count: int) -> None:
        """Goes over ``count`` bytes, which are hashed all the same. Raises CutShort where there are fewer."""
        while count:
            if self._next == len(self._chunk):
                self._fill()
            step = min(count, len(self._chunk) - self._next)
            self._advance(step)
            count -= step

    def finish(self) -> str:
        """SHA-256 of the whole file, hexadecimal; of what there is, where it is shorter or longer than ``size``."""
        try:
            self.skip(self.size - self.at)
        except CutShort:
            return self._digest.hexdigest()
        # A file that grows is another one; how far it grows is not waited for.
        self._digest.update(self._stream.read(1) or b"")
        return self._digest.hexdigest()

    def _advance(self, count: int) -> None:
        self._next += count
        self.at += count

    def _fill(self) -> None:
        try:
            data = self._stream.read(min(_CHUNK_BYTES, self._unread)) if self._unread else b""
        except OSError as error:
            raise CutShort(f"it cannot be read after {self.at} bytes: {error.strerror or error}") from error
        if not data:
            raise CutShort(f"it ends after {self.at} bytes")
        self._digest.update(data)
        if self._sink is not None:
            self._sink.write(data)
        self._unread -= len(data)
        self._chunk, self._next = data, 0
