"""The kernels against float64, on fresh inputs and odd sizes; the output is poisoned before every run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

TOKENS = (1, 8, 63, 197, 600)
WIDTHS = (32, 64, 80, 128)
ELEMENTS = ("fp16", "bf16", "fp32")
ALL = list(itertools.product(TOKENS, WIDTHS, ELEMENTS))
# Long sequences are slow to interpret: there the element types take turns among the other widths.
SIZES = [size for index, size in enumerate(ALL) if size[0] < 100 or size[1] == 64 or index % 3 == index // 3 % 3]


def sized(tokens: int) -> dict[str, int]:
    """Batch, groups and heads: several where sequences are short, which is where a tile holds several."""
    if tokens <= 8:
        return {"batch": 3, "groups": 5, "heads": 2}
    return {"batch": 1, "groups": 2 if tokens < 100 else 1, "heads": 1}


@pytest.mark.parametrize("operation", ["additive", "favor", "rotary"])
@pytest.mark.parametrize(("tokens", "width", "element"), SIZES)
def test_the_kernel_is_the_reference(
    operation: str, tokens: int, width: int, element: str, make_case: Any, run_case: Any, limits: dict[str, float]
) -> None:
    index = SIZES.index((tokens, width, element))
    case = make_case(
        operation, tokens, width, element,
        along=("space", "time")[index % 2], pairs=("neighbours", "halves")[index // 2 % 2], axes=index % 3,
        feature=("softmax", "softmax", "relu")[index // 3 % 3], seed=index, **sized(tokens),
    )  # fmt: skip
    outcome = run_case(case)
    assert outcome.worst <= limits[element]


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize(
    "change",
    [
        {"gaps": True, "batch": 3},
        {"huge": True},
        {"gaps": True, "huge": True, "along": "time", "pairs": "halves"},
        {"tokens": 70, "huge": True},
        {"tokens": 300, "huge": True, "groups": 1, "heads": 1},
    ],
    ids=lambda change: "-".join(change),
)
@pytest.mark.parametrize("operation", ["additive", "favor", "rotary"])
def test_gaps_and_huge_logits(
    operation: str, change: dict[str, Any], element: str, make_case: Any, run_case: Any, limits: dict[str, float]
) -> None:
    case = make_case(operation, 20, 64, element, groups=3).changed(**change)
    outcome = run_case(case)
    assert outcome.worst <= limits[element]
    if case.gaps:
        # What lies around the output is still poison: nothing was written beside it.
        larger = outcome.target._base
        assert int(np.isfinite(larger.double().numpy()).sum()) == outcome.out.size


@pytest.mark.parametrize("features", [110, 266, 350])
@pytest.mark.parametrize("tokens", [8, 197])
def test_as_many_features_as_the_model_has(tokens: int, features: int, make_case: Any, run_case: Any) -> None:
    outcome = run_case(make_case("favor", tokens, 64, "fp16", features=features, groups=1, heads=1))
    assert outcome.worst <= 2e-3


@pytest.mark.parametrize("operation", ["additive", "rotary"])
def test_joint_attention_is_one_frame_with_all_tokens(operation: str, make_case: Any, run_case: Any) -> None:
    outcome = run_case(make_case(operation, 197 * 2, 64, "fp16", groups=1, heads=1, axes=3))
    assert outcome.worst <= 2e-3


@pytest.mark.parametrize("operation", ["additive", "favor", "rotary"])
def test_a_clip_does_not_depend_on_its_neighbours(operation: str, make_case: Any, run_case: Any) -> None:
    """The first clip of three, and the same clip alone, bit for bit."""
    three = run_case(make_case(operation, 8, 64, "fp16", batch=3, groups=3))
    one = run_case(make_case(operation, 8, 64, "fp16", batch=1, groups=3))
    np.testing.assert_array_equal(three.qkv[0].numpy(), one.qkv[0].numpy())
    np.testing.assert_array_equal(three.out[0], one.out[0])


Breaking = Callable[[Any], None]


@pytest.mark.parametrize("operation", ["additive", "favor", "rotary"])
@pytest.mark.parametrize("part", ["positions", "values"])
def test_the_limit_notices_a_fault(operation: str, part: str, make_case: Any, run_case: Any, limits: Any) -> None:
    """The gate itself: a rotation left out, or one token's result exchanged for another's, is far beyond the limit."""
    case = make_case(operation, 20, 64, "bf16", groups=1, heads=1)
    outcome = run_case(case)
    if part == "values":
        outcome.out[:, [3, 4]] = outcome.out[:, [4, 3]]
        assert outcome.worst > limits["bf16"]
    else:
        unturned = run_case(case.changed(axes=0))
        assert not np.allclose(unturned.expected, outcome.expected, rtol=0.05)
        assert np.linalg.norm(unturned.out - outcome.expected) > limits["bf16"] * np.linalg.norm(outcome.expected)
