"""Time any Polygraphy runner: ONNX Runtime, eager PyTorch, or one of the caller's own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ftsf_export.bench.memory import peak_rss_bytes
from ftsf_export.bench.outputs import Array, Shapes, check_outputs
from ftsf_export.bench.sampling import Clock, Schedule, collect
from ftsf_export.bench.timing import TimedFile, Timing, timing_from_samples


def time_runner(
    runner: Any,
    feed: Mapping[str, Array],
    shapes: Shapes,
    subject: TimedFile,
    schedule: Schedule,
    *,
    clock_ns: Clock = time.perf_counter_ns,
) -> Timing:
    """Activate the runner, look at its outputs once, then time ``infer`` with the same inputs.

    Outputs are in host memory when ``infer`` returns. Raises RunError when they are not of ``shapes``, or not finite.
    """

    def call() -> None:
        # Polygraphy's check of the feed is not part of a server's work; the first call below has done it.
        runner.infer(feed, check_inputs=False)

    with runner:
        check_outputs(runner.infer(feed), shapes, subject.file)
        samples = collect(call, schedule, clock_ns=clock_ns)
    return timing_from_samples(subject, samples, peak_rss_bytes=peak_rss_bytes())
