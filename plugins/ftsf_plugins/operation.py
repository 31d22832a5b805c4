"""An operation as an engine builder sees it: its arguments, and which kernel does it for given attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsf_plugins.launch import ElementType, Launch, rotation_constants
from ftsf_plugins.rotary import Rotation
from ftsf_plugins.stream import Floats, Stream


@dataclass(frozen=True)
class AttentionLaunch:
    """The kernel of one attention."""

    stream: Stream  #: How the attention's tokens lie.
    launch: Launch  #: The kernel, with its constants.
    features: int = 0  #: M of FAVOR+; 0 for another attention.


@dataclass(frozen=True)
class Operation:
    """An operation that a plugin computes; its one output has the element type of its packed stream."""

    name: str  #: The operator type of its nodes.
    inputs: tuple[str, ...]  #: Their names in order, the packed stream first.
    like_stream: tuple[str, ...]  #: The inputs that have the stream's element type; the others are FP32.
    attributes: Mapping[str, type]  #: Name -> type, in the order of the registration.
    elements: tuple[ElementType, ...]  #: Element types that there are kernels for.
    #: The kernel for a node's attributes and the stream's element type; raises ValueError.
    launched: Callable[[Mapping[str, Any], ElementType], AttentionLaunch]
    #: What a node's attributes make of its inputs (in the order of ``inputs``), in float64: (B, S, H * K).
    reference: Callable[[Mapping[str, Any], Sequence[Floats]], Floats]
    #: ``launched`` for who starts a kernel without asking the driver for more shared memory than a block usually has;
    #: None where ``launched`` never needs more.
    launched_unasked: Callable[[Mapping[str, Any], ElementType], AttentionLaunch] | None = None

    def launched_by(self, attributes: Mapping[str, Any], element: ElementType, *, asks: bool) -> AttentionLaunch:
        """The kernel for who asks for shared memory (``IPluginV3``) or does not (TensorRT itself)."""
        if asks or self.launched_unasked is None:
            return self.launched(attributes, element)
        return self.launched_unasked(attributes, element)


def stream_of(attributes: Mapping[str, Any]) -> Stream:
    """How the tokens lie, by the attributes that every node has."""
    return Stream(*(attributes[name] for name in ("frames", "tokens", "heads", "width", "along")))


def rotation_of(attributes: Mapping[str, Any]) -> dict[str, int]:
    """The constants of the rotation, by the attributes that every node has."""
    return rotation_constants(attributes["axes"], attributes["pairs"])


def turning(attributes: Mapping[str, Any], positions_NA: Floats, frequencies_AI: Floats) -> Rotation | None:
    """The rotation of a node, from its attributes and the inputs that every node has last; None where nothing turns."""
    return Rotation(positions_NA, frequencies_AI, attributes["pairs"]) if attributes["axes"] else None
