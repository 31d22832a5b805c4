"""Tiles of FAVOR+, and which of its two orders."""

from __future__ import annotations

from collections.abc import Mapping

from ftsf_plugins.launch import ELEMENT_BYTES, STRIDES, ElementType, Launch, checked_width, power_above
from ftsf_plugins.stream import Stream

INPUTS = ("qkv", "omega", "positions", "frequencies")
# Rows of the short order's tile: its weights, rows x rows in FP32, are 32 registers a thread at 4 warps.
SHORT_ROWS = 64


def favor_launch(
    stream: Stream,
    features: int,
    rotation: Mapping[str, int],
    element: ElementType,
    *,
    eps: float,
    feature: str = "softmax",
    asks: bool = True,
) -> Launch:
    """The kernel and its constants for N = ``stream.attending`` and M = ``features``. Raises ValueError naming the
    wrong argument.

    ``asks``: whether who starts it asks the driver for more shared memory than a block usually has.
    """
    if element not in ELEMENT_BYTES:
        raise ValueError(f"element: expected one of {', '.join(ELEMENT_BYTES)}, got {element!r}")
    if feature not in ("softmax", "relu"):
        raise ValueError(f"feature: expected 'softmax' or 'relu', got {feature!r}")
    if features < 1:
        raise ValueError(f"features: expected at least 1, got {features}")
    constants: dict[str, int | float] = {
        "EPS": eps,
        "RELU": int(feature == "relu"),
        "WIDTH": checked_width(stream.width),
        **rotation,
        # A matrix product needs an inner size of 16 at least: the narrowest head has just that many pairs.
        "BLOCK_PAIRS": power_above(stream.width // 2),
    }
    if stream.attending <= SHORT_ROWS:
        return _short(stream, constants)
    return _long(stream, features, constants, element, asks=asks)


def _short(stream: Stream, constants: dict[str, int | float]) -> Launch:
    tokens = power_above(stream.attending)
    groups = SHORT_ROWS // tokens
    tile = {"BLOCK_GROUPS": groups, "BLOCK_TOKENS": tokens, "BLOCK_FEATURES": 32}
    return Launch(
        kernel="favor_short_kernel",
        inputs=INPUTS,
        scalars=("sequences", "groups", "tokens", "features", *STRIDES),
        constants=constants | tile,
        groups=groups,
        columns=stream.width,
        warps=4,
    )


def _long(
    stream: Stream, features: int, constants: dict[str, int | float], element: ElementType, *, asks: bool
) -> Launch:
    block = 128 if asks else 64
    sweeps = -(-features // block)
    # The last sweep is smaller where it can be, but 8 warps share fewer than 64 rows badly.
    last = min(block, max(64, power_above(features - block * (sweeps - 1))))
    # phi(k)^T v stays in registers: wide heads have more features and more columns, so that a program takes fewer. Its
    # means stay in shared memory.
    columns = 64 if stream.width <= 64 else 32
    if not asks:
        columns //= 2
    tile = {
        "BLOCK_TOKENS": 16, "BLOCK_FEATURES": block, "BLOCK_LAST": last, "SWEEPS": sweeps, "BLOCK_VALUES": columns,
        "HELD": int(asks),
    }  # fmt: skip
    return Launch(
        kernel="favor_long_kernel",
        inputs=INPUTS,
        scalars=("groups", "tokens", "features", *STRIDES),
        constants=constants | tile,
        groups=1,
        columns=columns,
        warps=8,
        # The registers are full. In fp16 Triton 3.7 and 3.9 spill nowhere with 1; with more, 3.7 does for sm_86 to
        # sm_89. In bf16 for sm_120 Triton 3.9 spills with 1 and not with 3.
        stages=3 if asks and element == "bf16" else 1,
    )
