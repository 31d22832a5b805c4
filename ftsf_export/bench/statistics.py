"""What many latencies amount to. Every sample counts: nothing is trimmed, slow ones are counted and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PERCENTILES = (50, 90, 95, 99)

# Tukey 1977: a sample beyond the upper quartile plus three times the interquartile range is far out.
_OUTER_FENCE = 3.0


@dataclass(frozen=True, kw_only=True)
class LatencySummary:
    """Latencies in milliseconds, one a call.

    Percentiles interpolate linearly between order statistics (type 7 of Hyndman and Fan 1996, NumPy's "linear"):
    of n sorted samples x_0 .. x_(n-1), p is the value at rank p/100 * (n - 1).
    """

    count: int  #: Of the samples.
    mean_ms: float  #: Of all samples.
    std_ms: float  #: Sample standard deviation (over n - 1; 0 for one sample).
    min_ms: float  #: The fastest call.
    p50_ms: float  #: The median.
    p90_ms: float  #: 90th percentile.
    p95_ms: float  #: 95th percentile.
    p99_ms: float  #: 99th percentile.
    max_ms: float  #: The slowest call.
    slow_outliers: int  #: Samples beyond Tukey's outer fence; they are in every figure here.


def summary_from_latencies(latencies_ms: Sequence[float]) -> LatencySummary:
    """Sum up one latency a call, in milliseconds.

    Raises ValueError when there is none, or when one is negative, NaN or infinite: no evidence is not a figure.
    """
    samples = np.asarray(latencies_ms, dtype=np.float64)
    if samples.ndim != 1 or samples.size == 0:
        raise ValueError(f"latencies: expected at least one, got an array of shape {samples.shape}")
    if not (np.isfinite(samples).all() and samples.min() >= 0):
        raise ValueError(f"latencies: expected finite values of at least 0, got {samples.min()} to {samples.max()}")
    lower, upper = np.percentile(samples, (25, 75), method="linear")
    p50, p90, p95, p99 = (float(p) for p in np.percentile(samples, PERCENTILES, method="linear"))
    return LatencySummary(
        count=int(samples.size),
        mean_ms=float(samples.mean()),
        std_ms=float(samples.std(ddof=1)) if samples.size > 1 else 0.0,
        min_ms=float(samples.min()),
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=float(samples.max()),
        slow_outliers=int((samples > upper + _OUTER_FENCE * (upper - lower)).sum()),
    )
