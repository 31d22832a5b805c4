"""The model of bytes is the count of bytes."""

from __future__ import annotations

from typing import Any

import pytest

from ftsf_plugins.cost import moved


@pytest.mark.parametrize(
    ("operation", "tokens", "width", "changes"),
    [
        ("additive", 8, 64, {"groups": 13, "batch": 2}),
        ("additive", 70, 80, {"element": "fp32", "axes": 0}),
        ("favor", 8, 64, {"groups": 13, "along": "time"}),
        ("favor", 63, 32, {"axes": 0, "element": "bf16"}),
        ("favor", 70, 64, {"axes": 1}),
        ("favor", 70, 80, {"features": 150}),
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
    assert cost.stream_bytes + cost.constant_bytes == traffic.read_bytes + traffic.written_bytes
