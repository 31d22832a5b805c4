"""An operation as an engine builder sees it: its arguments, and which kernel does it for given attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ftsf_plugins.launch import ElementType, Launch
from ftsf_plugins.stream import Stream

Attribute = int | float | str


@dataclass(frozen=True)
class Work:
    """One attention: how its tokens lie, the kernel's constants, and M of FAVOR+ (else 0)."""

    stream: Stream
    launch: Launch
    features: int = 0


@dataclass(frozen=True)
class Operation:
    """``inputs`` in order, the packed stream first; ``like_stream``: those that share its element type, the others are
    FP32. ``attributes``: name -> type, in the order of the registration. ``elements``: types there are kernels for."""

    name: str
    inputs: tuple[str, ...]
    like_stream: tuple[str, ...]
    attributes: Mapping[str, type]
    elements: tuple[ElementType, ...]
    work: Callable[[Mapping[str, Any], ElementType], Work]
