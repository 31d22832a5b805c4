"""An operation as an engine builder sees it: its arguments, and which kernel does it for given attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ftsf_plugins.launch import ElementType, Launch, Turns
from ftsf_plugins.stream import Stream


@dataclass(frozen=True)
class AttentionLaunch:
    """The kernel of one attention.

    Attributes:
        stream: how the attention's tokens lie.
        launch: the kernel, with its constants.
        features: M of FAVOR+; 0 for another attention.
    """

    stream: Stream
    launch: Launch
    features: int = 0


@dataclass(frozen=True)
class Operation:
    """An operation that a plugin computes; its one output has the element type of its packed stream.

    Attributes:
        name: the operator type of its nodes.
        inputs: their names in order, the packed stream first.
        like_stream: the inputs that have the stream's element type; the others are FP32.
        attributes: name -> type, in the order of the registration.
        elements: element types that there are kernels for.
        launched: the kernel for a node's attributes and the stream's element type; raises ValueError.
    """

    name: str
    inputs: tuple[str, ...]
    like_stream: tuple[str, ...]
    attributes: Mapping[str, type]
    elements: tuple[ElementType, ...]
    launched: Callable[[Mapping[str, Any], ElementType], AttentionLaunch]


def stream_of(attributes: Mapping[str, Any]) -> Stream:
    """How the tokens lie, by the attributes that every node has."""
    return Stream(*(attributes[name] for name in ("frames", "tokens", "heads", "width", "along")))


def turns_of(attributes: Mapping[str, Any]) -> Turns:
    """The rotation, by the attributes that every node has."""
    return Turns(attributes["axes"], attributes["pairs"])
