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
    #: What further programs of a sequence read after its first: its keys and values with their positions. They run side
    #: by side, so that it comes out of the L2 cache and not out of memory.
    again_bytes: int = 0

    @property
    def ratio(self) -> float:
        """Bytes between memory and cache over the bound."""
        return (self.stream_bytes + self.constant_bytes) / self.bound_bytes


def moved(launch: Launch, stream: Stream, batch: int, element: ElementType, features: int = 0) -> Moved:
    """Loads and stores of one launch. ``features``: M, for FAVOR+."""
    size, axes = ELEMENT_BYTES[element], int(launch.constants["AXES"])
    sequences, heads, columns = launch.grid(stream, batch)
    part = batch * stream.frames * stream.tokens * stream.inner * size
    # Queries and keys are needed whole by every program that takes some of a head's columns.
    stream_bytes = (2 * columns + 2) * part
    frequencies = axes * stream.width // 2 * ELEMENT_BYTES["fp32"]
    positions = stream.attending * axes * ELEMENT_BYTES["fp32"]
    weights = {
        "additive_attention_kernel": 2 * stream.width * ELEMENT_BYTES["fp32"],
        "rotary_attention_kernel": 0,
    }.get(launch.kernel, features * stream.width * size)
    programs, parts = sequences * heads * columns, launch.parts(stream)
    # How often all tokens' positions are asked for: a tile of several sequences asks row by row in the short order of
    # FAVOR+, rows that are not there too, and in rotary attention without these; else by token.
    asked = programs * launch.groups if launch.kernel == "favor_short_kernel" else programs // parts
    if launch.kernel == "rotary_attention_kernel":
        asked = batch * stream.groups * heads
    constant_bytes = programs * (weights + frequencies) + asked * 2 * positions
    # Each part has queries of its own, and all keys.
    again_bytes = (parts - 1) * (2 * part + asked * positions)
    return Moved(4 * part, stream_bytes, constant_bytes, again_bytes)


def flops(launch: Launch, stream: Stream, batch: int, features: int = 0) -> int:
    """Products of one launch, two operations a multiplication and addition; pointwise work is not counted.

    The operation's own: what tiles add, FAVOR+'s features beyond M and its second products for what rounding leaves of
    a turned token, comes on top.
    """
    width = stream.width
    if launch.kernel == "additive_attention_kernel":
        # Two pools: each token with the weight, and into the sum.
        each = 2 * (2 * width + 2 * width)
    elif launch.kernel == "rotary_attention_kernel":
        each = 2 * stream.attending * 2 * width
    else:
        projections = 2 * 2 * width * features
        if launch.kernel == "favor_short_kernel":
            each = projections + 2 * stream.attending * (features + width)
        else:
            each = projections + 2 * 2 * features * width
    return batch * stream.frames * stream.tokens * stream.heads * each
