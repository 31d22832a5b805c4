"""Percentiles, mean and outliers against their written definitions."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsf_export.bench.statistics import summary_from_latencies


def naive_percentile(samples: list[float], percent: float) -> float:
    """Type 7 of Hyndman and Fan, written out: linear between the two order statistics around rank p/100 * (n - 1)."""
    ordered = sorted(samples)
    rank = percent / 100 * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (rank - low) * (ordered[high] - ordered[low])


def test_figures_of_one_to_a_hundred_and_one() -> None:
    summary = summary_from_latencies([float(n) for n in range(101, 0, -1)])
    assert (summary.p50_ms, summary.p90_ms, summary.p95_ms, summary.p99_ms) == (51.0, 91.0, 96.0, 100.0)
    assert (summary.min_ms, summary.mean_ms, summary.max_ms, summary.count) == (1.0, 51.0, 101.0, 101)
    assert summary.std_ms == pytest.approx(statistics.stdev(range(1, 102)))


def test_percentiles_lie_between_samples() -> None:
    summary = summary_from_latencies([10.0, 20.0, 30.0, 40.0])
    assert summary.p50_ms == 25.0
    assert summary.p90_ms == pytest.approx(37.0)
    assert summary.p99_ms == pytest.approx(39.7)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=60))
def test_against_the_naive_definition(samples: list[float]) -> None:
    summary = summary_from_latencies(samples)
    for percent, value in ((50, summary.p50_ms), (90, summary.p90_ms), (95, summary.p95_ms), (99, summary.p99_ms)):
        assert value == pytest.approx(naive_percentile(samples, percent), rel=1e-9, abs=1e-9)
    assert summary.min_ms <= summary.p50_ms <= summary.p90_ms <= summary.p95_ms <= summary.p99_ms <= summary.max_ms
    assert summary.mean_ms == pytest.approx(sum(samples) / len(samples), rel=1e-9, abs=1e-9)


def test_one_slow_call_moves_the_mean_and_p99_and_not_the_median() -> None:
    calm = [10.0 + 0.01 * n for n in range(99)]
    summary, disturbed = summary_from_latencies(calm), summary_from_latencies([*calm, 1000.0])
    assert disturbed.p50_ms == pytest.approx(summary.p50_ms, abs=0.01)
    assert disturbed.p95_ms == pytest.approx(summary.p95_ms, abs=0.05)
    assert disturbed.mean_ms > summary.mean_ms + 9
    assert disturbed.max_ms == 1000.0
    assert (summary.slow_outliers, disturbed.slow_outliers) == (0, 1)


def test_a_sample_on_the_fence_is_not_far_out() -> None:
    # Quartiles 11 and 13, so the fence is at 19.
    assert summary_from_latencies([10.0, 11.0, 12.0, 13.0, 19.0]).slow_outliers == 0
    assert summary_from_latencies([10.0, 11.0, 12.0, 13.0, 19.001]).slow_outliers == 1


def test_one_sample() -> None:
    summary = summary_from_latencies([7.5])
    assert (summary.count, summary.p50_ms, summary.p99_ms, summary.std_ms) == (1, 7.5, 7.5, 0.0)


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [1.0, math.inf], [-0.001, 1.0]])
def test_no_evidence_or_impossible_evidence_is_refused(samples: list[float]) -> None:
    with pytest.raises(ValueError, match="latencies: expected"):
        summary_from_latencies(samples)
