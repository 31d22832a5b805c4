"""Shares of right answers, their intervals, and the classes that are recognised least."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsf_export.parity.accuracy import Confusion, Tally, share_of


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(right: int, of: int, low: float, high: float) -> None:
    found = share_of(right, of)
    assert found.share == right / of
    assert found.interval == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 400).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_its_ends_solve_wilsons_equation(pair: tuple[int, int]) -> None:
    """|p - share| = z sqrt(p (1 - p) / n) at both ends."""
    found = share_of(*pair)
    for end in found.interval:
        assert abs(end - found.share) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / found.of), abs=1e-6)


def test_counts_and_the_worst_classes() -> None:
    tally = Tally(classes=10)
    answers = [(0, 0, 1)] * 8 + [(0, 1, 2)] * 2 + [(1, 2, 3), (1, 2, 6), (1, 0, 9), (2, 2, 1), (3, 4, 7)]
    for one in answers:
        tally.add(*one)
    found = tally.accuracy(lambda index: f"c{index}")
    assert found is not None
    assert (found.top1.right, found.top1.of) == (9, 15)
    assert found.top5 is not None
    assert (found.top5.right, found.top5.of) == (12, 15)
    assert found.worst == (
        Confusion("c1", 0, 3, "c2", 2),
        Confusion("c3", 0, 1, "c4", 1),
        Confusion("c0", 8, 10, "c1", 2),
    )


def test_five_classes_have_no_top5_and_no_answer_no_accuracy() -> None:
    tally = Tally(classes=5)
    assert tally.accuracy(str) is None
    tally.add(1, 1, 1)
    found = tally.accuracy(str)
    assert found is not None
    assert (found.top5, found.worst) == (None, ())
