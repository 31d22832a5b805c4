"""Protobuf messages walked field by field, from the bytes as they are hashed (protobuf.dev, "Encoding")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ftsf_export.bundle.hashed import HashedReader

# Far above a network of a hundred blocks; below what a reader would be busy with for long.
_MAX_FIELDS, _MAX_NAME_BYTES = 500_000, 1 << 16
VARINT, CONTENT = 0, 2
_EIGHT_BYTES, _FOUR_BYTES = 1, 5


class UnreadableGraph(ValueError):
    """The bytes are no ONNX file, or one beyond every size of ours."""


@dataclass
class Wire:
    """Goes through a message and those in it, front to back; ``end`` is everywhere where a message's bytes end."""

    reader: HashedReader
    _seen: int = field(default=0, init=False)

    def fields(self, end: int) -> Iterator[tuple[int, int, int]]:
        """Number, wire type and value of each field up to ``end``; the value of content is where it ends, and what its
        taker leaves of it is skipped."""
        while self.reader.at < end:
            self._seen += 1
            if self._seen > _MAX_FIELDS:
                raise UnreadableGraph(f"more than {_MAX_FIELDS} fields")
            key = self._varint()
            number, kind = key >> 3, key & 7
            if not 0 < number < 1 << 29:
                raise UnreadableGraph(f"field number {number} before byte {self.reader.at}")
            if kind == VARINT:
                yield number, kind, self._varint()
            elif kind == CONTENT:
                size = self._varint()
                stop = self._within(size, end)
                yield number, kind, stop
                self.reader.skip(stop - self.reader.at)
            elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
                self.reader.skip(self._within(8 if kind == _EIGHT_BYTES else 4, end) - self.reader.at)
            else:
                raise UnreadableGraph(f"wire type {kind} before byte {self.reader.at}")
        if self.reader.at > end:
            raise UnreadableGraph(f"a field reaches over the end of its message at byte {end}")

    def contents(self, end: int) -> Iterator[tuple[int, int]]:
        """Number and end of each field that holds bytes: a text, or a message."""
        return ((number, value) for number, kind, value in self.fields(end) if kind == CONTENT)

    def text(self, stop: int) -> str:
        """The content that ends at ``stop``, as a name."""
        size = stop - self.reader.at
        if size > _MAX_NAME_BYTES:
            raise UnreadableGraph(f"a name of {size} bytes at byte {self.reader.at}")
        try:
            return self.reader.take(size).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableGraph(f"a name before byte {stop} is not UTF-8") from error

    def _within(self, size: int, end: int) -> int:
        stop = self.reader.at + size
        if stop > end:
            raise UnreadableGraph(f"a field of {size} bytes at byte {self.reader.at} reaches over its message's end")
        return stop

    def _varint(self) -> int:
        """Groups of seven bits, the lowest first; at most ten of them, for 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.reader.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise UnreadableGraph(f"a number of more than 64 bits before byte {self.reader.at}")
