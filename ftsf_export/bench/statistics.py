"""What many latencies amount to. Every sample counts: nothing is trimmed, slow ones are counted and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ftsf_export.bench.gpu_state import throttling
from ftsf_export.bench.sampling import Samples
from ftsf_export.timing import GpuTrace, LatencySummary, TimedFile, Timing

PERCENTILES = (50, 90, 95, 99)

# Tukey 1977: a sample beyond the upper quartile plus three times the interquartile range is far out.
_OUTER_FENCE = 3.0
# Below this many samples the 99th percentile lies between the two slowest calls.
_ENOUGH_FOR_P99 = 100


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


def timing_from_samples(
    subject: TimedFile, samples: Samples, *, peak_rss_bytes: int | None = None, gpu: GpuTrace | None = None
) -> Timing:
    """Sum the samples up; adds the notes that follow from the figures themselves."""
    latency = summary_from_latencies(samples.latency_ms)
    clips_per_s = subject.batch * latency.count / (sum(samples.latency_ms) / 1e3)
    notes = [*subject.notes]
    if latency.count < _ENOUGH_FOR_P99:
        notes.append(f"p99 of {latency.count} calls lies between the slowest two: read it as the slowest")
    if latency.slow_outliers:
        notes.append(f"{latency.slow_outliers} of {latency.count} calls were far slower than the rest; all are counted")
    if gpu is not None:
        notes += throttling(gpu)
    return Timing(
        subject=replace(subject, notes=tuple(notes)),
        warmup_iterations=samples.warmup_iterations,
        elapsed_s=samples.elapsed_s,
        latency=latency,
        device=None if samples.device_ms is None else summary_from_latencies(samples.device_ms),
        clips_per_s=clips_per_s,
        video_s_per_s=None if subject.clip_s is None else clips_per_s * subject.clip_s,
        peak_rss_bytes=peak_rss_bytes,
        gpu=gpu,
    )
