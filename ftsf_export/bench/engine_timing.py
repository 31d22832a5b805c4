"""Time one engine on its GPU, with CUDA graphs off and on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ftsf_export.bench.cuda import Cuda
from ftsf_export.bench.device_loop import CaptureError, DeviceLoop
from ftsf_export.bench.gpu_state import GpuMonitor
from ftsf_export.bench.memory import peak_rss_bytes
from ftsf_export.bench.outputs import Array, Shapes, check_outputs
from ftsf_export.bench.sampling import Clock, Schedule, collect
from ftsf_export.bench.statistics import timing_from_samples
from ftsf_export.errors import install_command
from ftsf_export.timing import TimedFile, Timing

_NO_NVML = f"clocks, temperature and memory of the GPU are unknown: no NVML ({install_command('nvml')})"


def time_engine(
    engine: Any,
    feed: Mapping[str, Array],
    shapes: Shapes,
    subject: TimedFile,
    schedule: Schedule,
    *,
    runtime: str,
    cuda: Cuda,
    monitor: GpuMonitor | None,
    clock_ns: Clock = time.perf_counter_ns,
) -> tuple[Timing, ...]:
    """Two timings: CUDA graphs off, then on. Where the run cannot be captured, one, with a note that says so.

    ``subject.heading`` is the GPU's name; ``runtime``, the library's name and version, is added to it. Raises RunError
    when a call fails or the outputs are not those of ``shapes``, with graphs off or on.
    """
    off, captured = (
        replace(subject, heading=f"{subject.heading} ({how})") for how in (runtime, f"{runtime}, CUDA graph")
    )
    plain = _time_loop(DeviceLoop(engine, feed, graph=False, cuda=cuda), shapes, off, schedule, monitor, clock_ns)
    try:
        loop = DeviceLoop(engine, feed, graph=True, cuda=cuda)
        return plain, _time_loop(loop, shapes, captured, schedule, monitor, clock_ns)
    except CaptureError as error:
        notes = (*plain.subject.notes, f"not measured with a CUDA graph: {error.message}")
        return (replace(plain, subject=replace(plain.subject, notes=notes)),)


def _time_loop(
    loop: DeviceLoop,
    shapes: Shapes,
    subject: TimedFile,
    schedule: Schedule,
    monitor: GpuMonitor | None,
    clock_ns: Clock,
) -> Timing:
    if monitor is not None:
        monitor.restart()
    with loop:
        loop()
        check_outputs(loop.outputs(), shapes, subject.file)
        samples = collect(loop, schedule, clock_ns=clock_ns, tick=None if monitor is None else monitor.tick)
        trace = None if monitor is None else monitor.trace()
    return timing_from_samples(
        replace(
            subject,
            conditions={
                **subject.conditions,
                "CUDA graph": loop.graph_how,
                "host memory": "pinned",
                "kernels": loop.kernels_how,
            },
            notes=subject.notes if monitor is not None else (*subject.notes, _NO_NVML),
        ),
        samples,
        peak_rss_bytes=peak_rss_bytes(),
        gpu=trace,
    )
