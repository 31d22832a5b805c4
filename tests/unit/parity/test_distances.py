"""Distances between arrays, against their definitions and at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsf_export.errors import GateFailed
from ftsf_export.parity.distances import distance, flips, nonfinite, top_k_overlap


def test_figures_follow_their_definitions() -> None:
    reference = np.asarray([[3.0, 4.0, 0.0], [1.0, 2.0, 2.0]], np.float32)
    candidate = np.asarray([[3.0, 4.0, 0.0], [1.0, 2.0, 2.5]], np.float32)
    found = distance("logits", reference, candidate)
    assert found.max_abs.value == 0.5
    assert found.max_abs.index == (1, 2)
    assert found.rel_l2.value == pytest.approx(0.5 / 3)
    assert found.spread_error.value == pytest.approx(0.5 / np.std([1.0, 2.0, 2.0]))
    cosine = (1 + 4 + 5) / (3 * math.sqrt(1 + 4 + 2.5**2))
    assert found.cosine.value == pytest.approx(cosine)


def test_a_fault_in_one_clip_is_not_diluted_by_the_others() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(64, 10))
    candidate = reference.copy()
    candidate[41] *= 1.1
    assert distance("logits", reference, candidate).rel_l2.value == pytest.approx(0.1)
    assert distance("logits", reference, candidate).rel_l2.index[0] == 41


@settings(max_examples=40, deadline=None)
@given(exponent=st.integers(-18, 18), seed=st.integers(0, 99))
def test_relative_figures_do_not_depend_on_the_scale(exponent: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(2, 3, 5))
    candidate = reference + rng.normal(size=(2, 3, 5)) * 1e-3
    plain = distance("tap", reference, candidate)
    scaled = distance("tap", reference * 10.0**exponent, candidate * 10.0**exponent)
    for name in ("rel_l2", "spread_error", "cosine"):
        assert getattr(scaled, name).value == pytest.approx(getattr(plain, name).value, rel=1e-9)


def test_squares_neither_overflow_nor_vanish() -> None:
    for scale in (1e38, 1e-38):
        reference = (np.asarray([[1.0, 2.0, 2.0]]) * scale).astype(np.float32)
        assert distance("tap", reference, reference * np.float32(1.5)).rel_l2.value == pytest.approx(0.5)


def test_sums_are_in_float64() -> None:
    reference = np.ones((1, 1_000_000), np.float16)
    candidate = reference.copy()
    candidate[0, ::2] = np.float16(1.001)
    step = float(candidate[0, 0]) - 1.0
    assert distance("tap", reference, candidate).rel_l2.value == pytest.approx(step * math.sqrt(0.5), rel=1e-9)


def test_a_zero_reference_asks_for_a_zero_candidate() -> None:
    zero = np.zeros((1, 4))
    assert distance("tap", zero, zero).rel_l2.value == 0
    assert distance("tap", zero, zero).cosine.value == 1
    assert distance("tap", zero, zero).spread_error.value == 0
    tiny = zero.copy()
    tiny[0, 2] = 1e-30
    assert distance("tap", zero, tiny).rel_l2.value == math.inf
    assert distance("tap", zero, tiny).spread_error.value == math.inf
    assert distance("tap", zero, tiny).cosine.value == 0


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        ((1, 4), (1, 5)),
        ((1, 4), (4,)),
        ((1, 4), (2, 4)),
        ((2, 1), (2, 2)),
        ((0, 4), (0, 4)),
        ((), ()),
        ((2, 0), (2, 0)),
    ],
)
def test_nothing_is_broadcast_trimmed_or_taken_for_evidence(
    reference: tuple[int, ...], candidate: tuple[int, ...]
) -> None:
    with pytest.raises(GateFailed, match=r"tap: (expected shape|nothing to compare)"):
        distance("tap", np.ones(reference), np.ones(candidate))


def test_only_real_numbers_are_compared() -> None:
    with pytest.raises(GateFailed, match="real numbers"):
        distance("tap", np.ones((1, 2), complex), np.ones((1, 2), complex))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_distance(value: float) -> None:
    reference = np.ones((2, 3), np.float32)
    candidate = reference.copy()
    candidate[1, 2] = value
    bad = nonfinite(reference, candidate)
    assert bad is not None
    assert (bad.side, bad.count, bad.size, bad.index) == ("candidate", 1, 6, (1, 2))
    with pytest.raises(GateFailed, match=r"1 of 6 values of the candidate .* \[1, 2\]"):
        distance("tap", reference, candidate)
    # Infinity on both sides is no agreement.
    assert nonfinite(candidate, candidate) is not None
    assert nonfinite(reference, reference) is None
    assert nonfinite(candidate, reference).side == "reference"  # type: ignore[union-attr]


def test_flips_name_the_clip_the_classes_and_the_gap() -> None:
    reference = np.asarray([[1.0, 5.0, 2.0], [3.0, 1.0, 2.5]])
    candidate = np.asarray([[1.0, 5.0, 2.0], [2.4, 1.0, 2.5]])
    (flip,) = flips(reference, candidate)
    assert (flip.clip, flip.reference_class, flip.candidate_class, flip.gap) == (1, 0, 2, 0.5)
    assert flips(reference, reference) == ()
    # Half precision may give both classes one score: the reference's best is still the best.
    assert flips(reference, np.asarray([[1.0, 5.0, 2.0], [2.5, 1.0, 2.5]])) == ()


def test_top_k_overlap_counts_the_shared_classes() -> None:
    reference = np.asarray([[9.0, 8, 7, 6, 5, 4, 3, 2]])
    candidate = np.asarray([[9.0, 8, 7, 6, 2, 4, 3, 5]])
    assert top_k_overlap(reference, candidate, 5) == pytest.approx(4 / 5)
    assert top_k_overlap(reference, -reference, 5) == pytest.approx(2 / 5)
    assert top_k_overlap(reference[:, :3], candidate[:, :3], 5) == 1
