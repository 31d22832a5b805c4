"""Sizes as users write them: of a frame, and of a batch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fast_timesformer.rules import whole
from ftsf_export.errors import ConfigError

# Where a CUDA grid ends along the axes on which batched kernels lay their clips (CUDA C++ Programming Guide, "Technical
# Specifications per Compute Capability").
MAX_BATCH = 65_535


@dataclass(frozen=True)
class Size:
    """The size of a frame. It is written ``224`` or ``240x320`` (height x width).

    Attributes:
        height: in pixels.
        width: in pixels.
    """

    height: int
    width: int

    @classmethod
    def parse(cls, text: str | int) -> Size:
        match = re.fullmatch(r"([0-9]{1,6})(?:x([0-9]{1,6}))?", str(text).strip().lower())
        if match is None:
            raise ConfigError([f"size: expected 224 or 240x320 (height x width), got {text!r}"])
        height = int(match[1])
        return cls(height, int(match[2] or height))

    @classmethod
    def of(cls, value: Any) -> Size:
        """What a Python caller may write: a size, a pair of numbers, or what ``parse`` takes."""
        if isinstance(value, Size):
            return value
        pair = isinstance(value, (tuple, list)) and len(value) == 2
        return cls.parse("x".join(map(str, value)) if pair else value)

    def problem(self) -> str:
        if all(whole(1).holds(side) for side in (self.height, self.width)):
            return ""
        return f"size: expected at least 1x1 pixels, got {self.height}x{self.width}"

    def __str__(self) -> str:
        return str(self.height) if self.height == self.width else f"{self.height}x{self.width}"


@dataclass(frozen=True)
class BatchRange:
    """Clips in one call. The range is written ``4`` or ``1:4:8``.

    Attributes:
        minimum: the least.
        optimum: the usual number, which the compiler tunes for.
        maximum: the most.
    """

    minimum: int
    optimum: int
    maximum: int

    @classmethod
    def parse(cls, text: str | int) -> BatchRange:
        parts = str(text).strip().split(":")
        if len(parts) not in (1, 3) or not all(re.fullmatch(r"[0-9]{1,6}", part) for part in parts):
            raise ConfigError([f"batch: expected one number or MIN:OPT:MAX, got {text!r}"])
        low, *rest = (int(part) for part in parts)
        batch = cls(low, *(rest or (low, low)))
        if problem := batch.problem():
            raise ConfigError([problem])
        return batch

    @classmethod
    def of(cls, value: Any) -> BatchRange:
        """What a Python caller may write: a range, or what ``parse`` takes."""
        return value if isinstance(value, BatchRange) else cls.parse(value)

    def problem(self) -> str:
        parts = (self.minimum, self.optimum, self.maximum)
        whole_numbers = all(whole(1).holds(part) for part in parts)
        if whole_numbers and self.minimum <= self.optimum <= self.maximum <= MAX_BATCH:
            return ""
        return f"batch: expected 1 <= MIN <= OPT <= MAX <= {MAX_BATCH}, got {':'.join(map(str, parts))}"

    @property
    def static(self) -> bool:
        """One size only: the graph then has no dynamic dimension."""
        return self.minimum == self.maximum

    @property
    def sizes(self) -> tuple[int, ...]:
        """The least, the usual and the largest number, each once."""
        return tuple(dict.fromkeys((self.minimum, self.optimum, self.maximum)))

    def __str__(self) -> str:
        return str(self.minimum) if self.static else f"{self.minimum}:{self.optimum}:{self.maximum}"
