"""``ftsf::FtsfRotaryAttention``: what it takes, and which kernel computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftsf_plugins.launch import ElementType
from ftsf_plugins.operation import AttentionLaunch, Operation, rotation_of, stream_of, turning
from ftsf_plugins.rotary_attention.launch import rotary_launch
from ftsf_plugins.rotary_attention.reference import rotary_attention
from ftsf_plugins.stream import Floats


def launch_of(attributes: Mapping[str, Any], element: ElementType) -> AttentionLaunch:
    """The kernel for a node's attributes. Raises ValueError naming the wrong one."""
    stream = stream_of(attributes)
    return AttentionLaunch(stream, rotary_launch(stream, rotation_of(attributes), element))


def reference_of(attributes: Mapping[str, Any], inputs: Sequence[Floats]) -> Floats:
    """What a node should make of its inputs, in float64."""
    qkv, positions, frequencies = inputs
    return rotary_attention(qkv, stream_of(attributes), turning(attributes, positions, frequencies))


OPERATION = Operation(
    name="FtsfRotaryAttention",
    inputs=("qkv", "positions", "frequencies"),
    like_stream=("qkv",),
    attributes={"frames": int, "tokens": int, "heads": int, "width": int, "along": str, "axes": int, "pairs": str},
    elements=("fp16", "bf16", "fp32"),
    launched=launch_of,
    reference=reference_of,
)
