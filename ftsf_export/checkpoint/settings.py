"""JSON files that somebody else wrote, read field by field: each has one type and a bound, all mistakes said at once.

Fields that nobody asks for are left alone: other programs keep theirs in the same files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftsf_export.errors import BundleError, UsageError
from ftsf_export.strict_json import json_from_bytes
from ftsf_export.user_file import content_of

MAX_BYTES = 4 * 2**20
_SHOWN = 60


class Settings:
    """One JSON object of ``source``. Readers note what is wrong and go on; ``finish`` raises.

    A reader that noted a problem returns the default, or the least value that is allowed.
    """

    def __init__(self, values: dict[str, Any], source: str) -> None:
        self._values = values
        self._source = source
        self._problems: list[str] = []

    @classmethod
    def of_file(cls, path: Path) -> Settings:
        """Raises UsageError for a file that is too large, does not read or holds no JSON object."""
        content = content_of(path, expected="a file of JSON", most=MAX_BYTES, about="checkpoint: ")
        try:
            values = json_from_bytes(content, str(path))
        except BundleError as error:
            raise UsageError(f"checkpoint: {error.message}") from error
        if not isinstance(values, dict):
            raise UsageError(f"checkpoint: {path}: expected a JSON object, got {type(values).__name__}")
        return cls(values, str(path))

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def raw(self, name: str) -> Any:
        return self._values.get(name)

    def whole(self, name: str, default: int, *, most: int, least: int = 1) -> int:
        value = self._values.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.note(name, f"a whole number from {least} to {most}", value)
        return least

    def pair(self, name: str, default: int, *, most: int) -> tuple[int, int]:
        """One number for both, or a list of two: height, width."""
        value = self._values.get(name, default)
        both = value if isinstance(value, list) else [value, value]
        if len(both) == 2 and all(isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= most for v in both):
            return both[0], both[1]
        self.note(name, f"a whole number from 1 to {most}, or a height and a width", value)
        return 1, 1

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        value = self._values.get(name, default)
        if _is_number(value) and least <= value <= most:
            return float(value)
        self.note(name, f"a number from {least:g} to {most:g}", value)
        return default

    def flag(self, name: str, default: bool) -> bool:
        value = self._values.get(name, default)
        if isinstance(value, bool):
            return value
        self.note(name, "true or false", value)
        return default

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        value = self._values.get(name, default)
        if isinstance(value, str) and value in allowed:
            return value
        self.note(name, f"one of {', '.join(allowed)}", value)
        return default

    def numbers(
        self, name: str, default: Sequence[float], *, count: int, bounds: tuple[float, float]
    ) -> tuple[float, ...]:
        """One number a channel, ``count`` of them."""
        value, (least, most) = self._values.get(name, list(default)), bounds
        each = value if isinstance(value, list) else []
        if len(each) == count and all(_is_number(v) and least <= v <= most for v in each):
            return tuple(float(v) for v in each)
        self.note(name, f"one number from {least:g} to {most:g} for each of {count} channels", value)
        return tuple(default)

    def note(self, name: str, expected: str, got: object) -> None:
        shown = repr(got)
        shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."
        self._problems.append(f"{name}: expected {expected}, got {shown}")

    def finish(self) -> None:
        """Raises UsageError with everything that was noted."""
        if self._problems:
            raise UsageError(f"checkpoint: {self._source}: {'; '.join(self._problems)}")


def _is_number(value: object) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e30 and math.isfinite(value)
    )
