"""How many bytes a kernel loads and stores, the same number that the interpreter counts, and how much work its products
are: without running anything."""

from __future__ import annotations

from dataclasses import dataclass

from ftsf_plugins.launch import ELEMENT_BYTES, ElementType, Launch
from ftsf_plugins.stream import Stream


@dataclass(frozen=True)
class Moved:
    """What one launch loads and stores."""

    bound_bytes: int  #: The packed stream once and the output once.
    stream_bytes: int  #: What the kernel moves of the two.
    constant_bytes: int  #: Weights, omega, positions and frequencies, which every program reads and the cache holds.

    @property
    def ratio(self) -> float:
        """All bytes over the bound."""
        return (self.stream_bytes + self.constant_bytes) / self.bound_bytes


def moved(launch: Launch, stream: Stream, batch: int, element: ElementType, features: int = 0) -> Moved:
    """Loads and stores of one launch. ``features``: M, for FAVOR+."""
    size, axes = ELEMENT_BYTES[element], int(launch.constants["AXES"])
    sequences, heads, columns = launch.grid(stream, batch)
    part = batch * stream.frames * stream.tokens * stream.inner * size
    # Queries and keys are needed whole by every program that takes some of a head's columns.
    stream_bytes = (2 * columns + 2) * part
    frequencies = axes * stream.width // 2 * ELEMENT_BYTES["fp32"]
    # A tile of several sequences asks for its rows' positions row by row in the short order of FAVOR+, else by token.
    rows = launch.groups if launch.kernel == "favor_short_kernel" else 1
    positions = 2 * rows * stream.attending * axes * ELEMENT_BYTES["fp32"]
    if features:
        weights = features * stream.width * size
    else:
        weights = 2 * stream.width * ELEMENT_BYTES["fp32"]
    programs = sequences * heads * columns
    return Moved(4 * part, stream_bytes, programs * (weights + frequencies + positions))


def flops(launch: Launch, stream: Stream, batch: int, features: int = 0) -> int:
    """Products of one launch, two operations a multiplication and addition; pointwise work is not counted.

    The operation's own: what tiles add, FAVOR+'s features beyond M and its second products for what rounding leaves of
    a turned token, comes on top.
    """
    width = stream.width
    if launch.kernel == "additive_attention_kernel":
        # Two pools: each token with the weight, and into the sum.
        each = 2 * (2 * width + 2 * width)
    else:
        projections = 2 * 2 * width * features
        if launch.kernel == "favor_short_kernel":
            each = projections + 2 * stream.attending * (features + width)
        else:
            each = projections + 2 * 2 * features * width
    return batch * stream.frames * stream.tokens * stream.heads * each
