"""Tiles of additive attention."""

from __future__ import annotations

from collections.abc import Mapping

from ftsf_plugins.launch import ELEMENT_BYTES, STRIDES, ElementType, Launch, checked_width, power_above
from ftsf_plugins.stream import Stream

# Bytes of a tile: 8 warps keep it in registers and leave room for a second block on every target's multiprocessor
# (scripts/build-plugins checks it).
TILE_BYTES = 8192
# Sequences a tile: as many as make the weights' bytes small beside the tokens'. Of one token each there are twice as
# many, where they fit into the registers: in half precision, with narrow heads.
MOST_GROUPS = 16


def additive_launch(stream: Stream, rotation: Mapping[str, int], element: ElementType) -> Launch:
    """The kernel's constants for N = ``stream.attending``. Raises ValueError where the head is too narrow or wide."""
    if element not in ELEMENT_BYTES:
        raise ValueError(f"element: expected one of {', '.join(ELEMENT_BYTES)}, got {element!r}")
    pairs = power_above(checked_width(stream.width) // 2)
    rows = TILE_BYTES // (2 * pairs * ELEMENT_BYTES[element])
    tokens = min(rows, power_above(stream.attending))
    doubled = tokens == 1 and pairs <= 32 and ELEMENT_BYTES[element] == 2
    groups = min(MOST_GROUPS * (2 if doubled else 1), rows // tokens)
    if pairs > 32 and groups > 1:
        # Sums of wide heads for several sequences: at the full tile the assembler spills.
        groups //= 2
    constants = {
        "WIDTH": stream.width, **rotation,
        "BLOCK_GROUPS": groups, "BLOCK_TOKENS": tokens, "BLOCK_PAIRS": pairs,
    }  # fmt: skip
    return Launch(
        kernel="additive_attention_kernel",
        inputs=("qkv", "w_q", "w_k", "positions", "frequencies"),
        scalars=("sequences", "groups", "tokens", *STRIDES),
        constants=constants,
        groups=groups,
        columns=stream.width,
        warps=8,
        # Two blocks of 8 warps fit; left alone, some assemblers spill to fit four. A tile of very short sequences keeps
        # more sums than tokens, and needs more.
        most_registers=128 if tokens >= 8 else 255,
    )
