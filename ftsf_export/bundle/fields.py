"""Strict reading of JSON: every field has one type, none is missing, none is unknown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, cast

from ftsf_export.errors import BundleError

_SHOWN = 60


class Fields:
    """One JSON object, read field by field; ``finish`` refuses what nobody read.

    Raises BundleError that names the source, the field, what was expected and what was found.
    """

    def __init__(self, value: object, source: str, where: str = "") -> None:
        self._source = source
        self._where = where
        if not isinstance(value, dict):
            raise self.wrong("", "an object", value)
        self._values: dict[str, Any] = value
        self._read: set[str] = set()

    def raw(self, name: str) -> Any:
        if name not in self._values:
            raise BundleError(f"{self._source}: {self._path(name)}: missing; write the bundle again with ftsf-export")
        self._read.add(name)
        return self._values[name]

    def text(self, name: str) -> str:
        value = self.raw(name)
        if not isinstance(value, str):
            raise self.wrong(name, "a string", value)
        return value

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        value = self.raw(name)
        if value not in allowed:
            raise self.wrong(name, f"one of {', '.join(allowed)}", value)
        return str(value)

    def whole(self, name: str, minimum: int) -> int:
        return self._whole(name, self.raw(name), minimum)

    def optional_whole(self, name: str, minimum: int) -> int | None:
        return None if self.raw(name) is None else self.whole(name, minimum)

    def number(self, name: str) -> float:
        return self._number(name, self.raw(name))

    def flag(self, name: str) -> bool:
        value = self.raw(name)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false", value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._list(name)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise self.wrong(f"{name}[{index}]", "a string", value)
        return tuple(values)

    def numbers(self, name: str) -> tuple[float, ...]:
        return tuple(self._number(f"{name}[{index}]", value) for index, value in enumerate(self._list(name)))

    def wholes(self, name: str, minimum: int) -> tuple[int, ...]:
        return tuple(self._whole(f"{name}[{index}]", value, minimum) for index, value in enumerate(self._list(name)))

    def list_of(self, name: str) -> Iterator[Fields]:
        """Each element of a list of objects."""
        for index, value in enumerate(self._list(name)):
            yield Fields(value, self._source, self._path(f"{name}[{index}]"))

    def object_of(self, name: str) -> Fields:
        return Fields(self.raw(name), self._source, self._path(name))

    def mapping(self, name: str) -> dict[str, Any]:
        """A JSON object whose names are data, not fields."""
        value = self.raw(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object", value)
        return dict(value)

    def names(self) -> tuple[str, ...]:
        return tuple(self._values)

    def finish(self) -> None:
        """Raises BundleError when the object holds a field that nobody read."""
        if unknown := sorted(set(self._values) - self._read):
            raise BundleError(
                f"{self._source}: {self._path(unknown[0])}: not a field of this schema; "
                "it was written by another version of ftsf-export: install that version, or write the bundle again"
            )

    def _list(self, name: str) -> list[Any]:
        value = self.raw(name)
        if not isinstance(value, list):
            raise self.wrong(name, "a list", value)
        return value

    def _whole(self, name: str, value: object, minimum: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise self.wrong(name, f"a whole number of at least {minimum}", value)
        return value

    def _number(self, name: str, value: object) -> float:
        # abs() <= the largest float, rather than isfinite(): a whole number of JSON may be larger than any float.
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
            raise self.wrong(name, "a number", value)
        return float(value)

    def _path(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where and name else self._where or name or "the whole file"

    def wrong(self, name: str, expected: str, got: object) -> BundleError:
        """The error for a field of the wrong type or value."""
        shown = repr(got)
        shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."
        return BundleError(f"{self._source}: {self._path(name)}: expected {expected}, got {shown}")


def json_from_bytes(data: bytes, source: str) -> object:
    """Strict JSON in UTF-8: no NaN or Infinity, no name twice in one object. Raises BundleError."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
        # Half of a surrogate pair ("\\ud800") parses, but is no text: it breaks at its first use.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{source}: not valid JSON ({error}); the file is damaged or was cut short") from error
    return cast(object, value)


def bytes_from_json(value: object) -> bytes:
    """Readable JSON, always the same bytes for the same value. Raises ValueError on NaN and Infinity."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} stands twice in one object")
    return out


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON number")
