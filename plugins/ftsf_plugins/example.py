"""One attention with inputs and with what should come out: for tests, for the rig, and for the first hour on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftsf_plugins.launch import ElementType
from ftsf_plugins.operation import AttentionLaunch, Operation
from ftsf_plugins.stream import Along, Floats

# The documented example: 8 frames of 224 px in patches of 16 with a class token, 8 heads of 64, int(64 ln 64) features.
DOCUMENTED: Mapping[str, Any] = {
    "frames": 8, "tokens": 197, "heads": 8, "width": 64, "pairs": "neighbours",
    "features": 266, "eps": 1e-4, "feature": "softmax",
}  # fmt: skip
# As the model rotates: over one axis in time, over two in space.
AXES: Mapping[Along, int] = {"time": 1, "space": 2}
# Largest relative error of any head of any group of a kernel.
LIMITS: Mapping[ElementType, float] = {"fp16": 2e-3, "bf16": 1e-2, "fp32": 1e-5}


def node_attributes(operation: Operation, along: Along, **sizes: Any) -> dict[str, Any]:
    """Attributes of a node of the documented example, with other ``sizes`` where they are given. Raises KeyError for
    what no node has."""
    known = {**DOCUMENTED, "along": along, "axes": AXES[along]}
    if unknown := set(sizes) - set(known):
        raise KeyError(f"no attribute of a node: {', '.join(sorted(unknown))}")
    return {name: (known | sizes)[name] for name in operation.attributes}


@dataclass(frozen=True)
class Example:
    """A node with inputs. Every value is a number of its tensor's own element type, though the arrays are float32."""

    operation: Operation  #: What the node computes.
    attributes: Mapping[str, Any]  #: Of the node.
    element: ElementType  #: The stream's.
    inputs: tuple[Floats, ...]  #: In the order of the operation's, the packed stream (B, S, 3 * H * K) first.

    def launched(self, *, asks: bool) -> AttentionLaunch:
        """The kernel; ``asks`` as in ``Operation.launched_by``."""
        return self.operation.launched_by(self.attributes, self.element, asks=asks)

    @property
    def batch(self) -> int:
        """B."""
        return int(self.inputs[0].shape[0])

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """(B, S, H * K)."""
        return self.batch, int(self.inputs[0].shape[1]), int(self.inputs[0].shape[2]) // 3

    @cached_property
    def expected(self) -> Floats:
        """What should come out, in float64."""
        return self.operation.reference(self.attributes, self.inputs)

    def encoded(self) -> tuple[NDArray[Any], ...]:
        """The inputs as their bytes lie on a device: BF16, which NumPy does not have, as 16-bit integers."""
        like = self.operation.like_stream
        elements = (self.element if name in like else "fp32" for name in self.operation.inputs)
        return tuple(encoded(x, element) for x, element in zip(self.inputs, elements, strict=True))

    def worst(self, out: Floats) -> float:
        """Relative L2 error of the worst head of the worst group; infinite where anything is not a number."""
        stream = self.launched(asks=True).stream
        (got,), (wanted,) = stream.parts(out.astype(np.float64), 1), stream.parts(self.expected, 1)
        error = np.linalg.norm(got - wanted, axis=(-2, -1)) / np.linalg.norm(wanted, axis=(-2, -1))
        return float(error.max()) if np.isfinite(error).all() else float("inf")


def example(
    operation: Operation, attributes: Mapping[str, Any], element: ElementType, batch: int, seed: int = 0
) -> Example:
    """Fresh values of a node's inputs: weights and tables by ``seed`` alone, the stream by it and by B = ``batch``."""
    weights, rows = np.random.default_rng([seed, 0]), np.random.default_rng([seed, batch])
    inputs = []
    for name in operation.inputs:
        values = (rows if name == "qkv" else weights).normal(size=_shape(name, attributes, batch))
        inputs.append(rounded(values, element if name in operation.like_stream else "fp32"))
    return Example(operation, attributes, element, tuple(inputs))


def _shape(name: str, attributes: Mapping[str, Any], batch: int) -> tuple[int, ...]:
    frames, tokens, heads, width = (attributes[key] for key in ("frames", "tokens", "heads", "width"))
    axes, attending = attributes["axes"], frames if attributes["along"] == "time" else tokens
    shapes = {
        "qkv": (batch, frames * tokens, 3 * heads * width),
        "w_q": (heads, width), "w_k": (heads, width), "omega": (attributes.get("features", 0), width),
        "positions": (attending, axes), "frequencies": (axes, width // 2),
    }  # fmt: skip
    return shapes[name]


def rounded(values: Floats, element: ElementType) -> NDArray[np.float32]:
    """The nearest numbers of an element type, in float32."""
    return decoded(encoded(values, element), element)


def encoded(values: Floats, element: ElementType) -> NDArray[Any]:
    """Rounded to the nearest of an element type, ties to even; BF16 as its bits."""
    if element != "bf16":
        return values.astype(np.float16 if element == "fp16" else np.float32)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def decoded(stored: NDArray[Any], element: ElementType) -> NDArray[np.float32]:
    """Inverse of ``encoded``."""
    if element != "bf16":
        return stored.astype(np.float32)
    return (stored.astype(np.uint32) << 16).view(np.float32)
