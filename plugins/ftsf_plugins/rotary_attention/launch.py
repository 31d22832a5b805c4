"""Tiles of softmax attention with the rotation inside."""

from __future__ import annotations

from collections.abc import Mapping

from ftsf_plugins.launch import ELEMENT_BYTES, STRIDES, ElementType, Launch, checked_width, power_above
from ftsf_plugins.stream import Stream

# Rows of a program, by the bytes of an element and the pairs of a head. Short sequences share a program, which passes
# all its keys at once. Longer ones have as many queries a program as leave room in the registers of 8 warps for what
# they mix: in half precision up to 256, so that up to there one program reads each key once.
_SHORT = {(2, 16): 64, (2, 32): 64, (2, 64): 32, (4, 16): 32, (4, 32): 32, (4, 64): 16}
_QUERIES = {(2, 16): 256, (2, 32): 256, (2, 64): 128, (4, 16): 128, (4, 32): 128, (4, 64): 32}
# Keys of a step: keys and values under way in shared memory stay below what a block has without asking.
_KEYS = {(2, 16): 32, (2, 32): 32, (2, 64): 16, (4, 16): 16, (4, 32): 16, (4, 64): 16}


def rotary_launch(stream: Stream, rotation: Mapping[str, int], element: ElementType) -> Launch:
    """The kernel's constants for N = ``stream.attending``. Raises ValueError where the head is too narrow or wide."""
    if element not in ELEMENT_BYTES:
        raise ValueError(f"element: expected one of {', '.join(ELEMENT_BYTES)}, got {element!r}")
    tokens, pairs = power_above(stream.attending), power_above(checked_width(stream.width) // 2)
    kind = ELEMENT_BYTES[element], pairs
    short = tokens <= _SHORT[kind]
    if short:
        groups, queries, keys = _SHORT[kind] // tokens, _SHORT[kind], _SHORT[kind]
    else:
        groups, queries, keys = 1, min(tokens, _QUERIES[kind]), _KEYS[kind]
    constants = {
        "WIDTH": stream.width, **rotation,
        "BLOCK_GROUPS": groups, "BLOCK_QUERIES": queries, "BLOCK_KEYS": keys, "BLOCK_PAIRS": pairs,
    }  # fmt: skip
    return Launch(
        kernel="rotary_attention_kernel",
        inputs=("qkv", "positions", "frequencies"),
        scalars=("sequences", "groups", "tokens", *STRIDES),
        constants=constants,
        groups=groups,
        columns=stream.width,
        warps=4 if short else 8,
        # One step has nothing to load ahead, and FP32 no registers for it.
        stages=1 if short or element == "fp32" else 2,
        queries=queries // groups,
    )
