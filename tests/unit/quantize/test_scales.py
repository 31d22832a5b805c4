from __future__ import annotations

import numpy as np
import pytest

from ftsf_export.config import CALIBRATIONS
from ftsf_export.quantize.scales import BINS, LEVELS, Histogram, histogram_of, mean_square, range_of, scale_of


def test_a_histogram_in_pieces_is_that_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    pieces = [rng.standard_normal(1000) * 10.0**power for power in (-2, 0, 1, -1)]
    grown = Histogram.empty()
    for piece in pieces:
        grown = grown.with_values(piece)
    whole = histogram_of(np.concatenate(pieces))
    assert (grown.top, grown.largest) == (whole.top, whole.largest)
    assert np.array_equal(grown.counts, whole.counts)
    joined = histogram_of(pieces[0]).joined(histogram_of(np.concatenate(pieces[1:])))
    assert np.array_equal(joined.counts, whole.counts)
    assert Histogram.empty().joined(Histogram.empty()).largest == 0


def test_methods_on_a_normal_tensor_with_one_outlier() -> None:
    values = np.append(np.random.default_rng(0).standard_normal(100_000), 40.0)
    seen = histogram_of(values)
    found = {method: range_of(seen, method) for method in CALIBRATIONS}
    assert found["max"] == 40.0
    assert 3.0 < found["percentile"] < 5.0
    assert 2.0 < found["entropy"] < 8.0
    # What "mse" promises, against the values themselves.
    errors = {end: _mean_square(values, end) for end in (*found.values(), 2.0, 20.0)}
    assert errors[found["mse"]] <= 1.02 * min(errors.values())


def _mean_square(values: np.ndarray, end: float) -> float:
    scale = end / LEVELS
    return float(((values - np.clip(np.round(values / scale), -LEVELS, LEVELS) * scale) ** 2).mean())


def test_mean_square_is_that_of_the_values() -> None:
    values = np.random.default_rng(3).standard_normal(200_000)
    for end in (1.0, 2.5, 4.0):
        assert mean_square(histogram_of(values), end) == pytest.approx(_mean_square(values, end), rel=0.02)


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_zeros_and_single_values(method: str) -> None:
    assert range_of(histogram_of(np.zeros(5)), method) == 0
    end = range_of(histogram_of(np.full(9, 3.0)), method)
    assert 3.0 * (1 - 2 / BINS) <= end <= 3.0 * (1 + 2 / BINS)


def test_an_unknown_method() -> None:
    with pytest.raises(ValueError, match="expected one of max, percentile, mse, entropy, got 'minmax'"):
        range_of(histogram_of(np.ones(3)), "minmax")


@pytest.mark.parametrize("end", [0.0, 1e-6, 0.1, 2.63, 1000.0])
def test_a_scale_is_a_number_of_fp16_that_reaches_the_range(end: float) -> None:
    scale = scale_of(end)
    assert np.float32(np.float16(scale)) == scale > 0
    assert scale * LEVELS >= end * (1 - 1e-6)
    assert not end or end < 1e-4 or scale * LEVELS <= end * 1.001
