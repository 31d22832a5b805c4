"""``ftsf::FtsfFavorAttention``: what it takes, and which kernel computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ftsf_plugins.favor_attention.launch import favor_launch
from ftsf_plugins.favor_attention.reference import favor_attention
from ftsf_plugins.launch import ElementType
from ftsf_plugins.operation import AttentionLaunch, Operation, rotation_of, stream_of, turning
from ftsf_plugins.stream import Floats


def launch_of(attributes: Mapping[str, Any], element: ElementType, *, asks: bool = True) -> AttentionLaunch:
    """The kernel for a node's attributes. Raises ValueError naming the wrong one.

    ``asks``: whether who starts it asks for more shared memory than a block usually has.
    """
    stream, features = stream_of(attributes), attributes["features"]
    how = {"eps": attributes["eps"], "feature": attributes["feature"], "asks": asks}
    return AttentionLaunch(stream, favor_launch(stream, features, rotation_of(attributes), element, **how), features)


def reference_of(attributes: Mapping[str, Any], inputs: Sequence[Floats]) -> Floats:
    """What a node should make of its inputs, in float64."""
    qkv, omega, positions, frequencies = inputs
    return favor_attention(
        qkv, omega, stream_of(attributes), turning(attributes, positions, frequencies),
        eps=attributes["eps"], feature=attributes["feature"],
    )  # fmt: skip


# In FP32 the products leave no room in the registers: the functions of such a graph's nodes are compiled instead.
OPERATION = Operation(
    name="FtsfFavorAttention",
    inputs=("qkv", "omega", "positions", "frequencies"),
    like_stream=("qkv", "omega"),
    attributes={
        "frames": int, "tokens": int, "heads": int, "width": int, "along": str, "axes": int, "pairs": str,
        "features": int, "eps": float, "feature": str,
    },
    elements=("fp16", "bf16"),
    launched=launch_of,
    reference=reference_of,
    launched_unasked=partial(launch_of, asks=False),
)  # fmt: skip
