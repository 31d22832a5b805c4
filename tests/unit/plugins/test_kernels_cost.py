"""The model of bytes is the count of bytes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ftsf_plugins.additive_attention.launch import additive_launch
from ftsf_plugins.cost import moved
from ftsf_plugins.launch import ElementType, rotation_constants
from ftsf_plugins.rotary_attention.launch import rotary_launch
from ftsf_plugins.stream import Stream


@pytest.mark.parametrize(
    ("operation", "tokens", "width", "changes"),
    [
        ("additive", 8, 64, {"groups": 13, "batch": 2}),
        ("additive", 70, 80, {"element": "fp32", "axes": 0}),
        ("favor", 8, 64, {"groups": 13, "along": "time"}),
        ("favor", 63, 32, {"axes": 0, "element": "bf16"}),
        ("favor", 70, 64, {"axes": 1}),
        ("favor", 70, 80, {"features": 150}),
        ("rotary", 8, 64, {"groups": 13, "batch": 2, "along": "time"}),
        ("rotary", 70, 80, {"element": "bf16", "axes": 1}),
        ("rotary", 300, 64, {"axes": 3}),
    ],
)
def test_bytes_as_modelled(
    operation: str, tokens: int, width: int, changes: dict[str, Any], make_case: Any, run_case: Any, traffic: Any
) -> None:
    case = make_case(operation, tokens, width).changed(**changes)
    outcome = run_case(case)
    features = case.features if operation == "favor" else 0
    cost = moved(outcome.launch, case.stream, case.batch, case.element, features)
    assert cost.bound_bytes == outcome.bound_bytes
    assert cost.stream_bytes + cost.constant_bytes + cost.again_bytes == traffic.read_bytes + traffic.written_bytes


@pytest.mark.parametrize("element", ["fp16", "bf16", "fp32"])
def test_additive_attention_keeps_to_the_bound_for_every_length(element: ElementType) -> None:
    """K 64, N 1 to 1,024, few sequences and many, along time and space: at most a tenth more, from 22 tokens on."""
    for groups, tokens in itertools.product((1, 3, 8, 17, 64, 197), range(1, 1025)):
        if groups * tokens >= 22:
            for stream, axes in (
                (Stream(groups, tokens, 8, 64, "space"), 2),
                (Stream(tokens, groups, 8, 64, "time"), 1),
            ):
                launch = additive_launch(stream, rotation_constants(axes), element)
                assert moved(launch, stream, 1, element).ratio <= 1.1, (groups, tokens, axes)


@pytest.mark.parametrize("element", ["fp16", "fp32"])
def test_rotary_attention_keeps_to_the_bound_for_every_length(element: ElementType) -> None:
    """K 64, N 8 to 1,600, along time, within frames and jointly: at most a tenth more out of memory. In half precision
    nothing comes twice out of a cache up to 256 tokens. Three axes weigh too much for fewer than 15 tokens."""
    for tokens in range(8, 1601):
        for groups in (1, 3, 8, 197):
            for stream, axes in (
                (Stream(tokens, groups, 8, 64, "time"), 1),
                (Stream(groups, tokens, 8, 64, "space"), 2),
                (Stream(groups, tokens, 8, 64, "space"), 3),
            ):
                one = moved(rotary_launch(stream, rotation_constants(axes), element), stream, 1, element)
                assert one.ratio <= 1.1 or (axes == 3 and tokens < 15), (groups, tokens, axes)
                assert (one.again_bytes == 0) is (tokens <= (256 if element == "fp16" else 128))
