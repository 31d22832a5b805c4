"""One measurement, made in a process of its own.

Then its peak memory is that of the measurement alone, no other library's threads compete with it, and a runtime that
aborts takes nothing else with it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsf_export.bench.cuda import Cuda
from ftsf_export.bench.engine_timing import time_engine
from ftsf_export.bench.gpu_state import gpu_monitor
from ftsf_export.bench.memory import peak_rss_bytes
from ftsf_export.bench.outputs import Array, Shapes, check_outputs
from ftsf_export.bench.sampling import Clock, Schedule, collect
from ftsf_export.bench.statistics import timing_from_samples
from ftsf_export.errors import RunError
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell
from ftsf_export.process.parent import run_in_child
from ftsf_export.strict_json import plain, structured
from ftsf_export.timing import TimedFile, Timing

# Backend -> its name for people.
BACKENDS = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT", "rtx": "TensorRT for RTX"}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What to run and how to sum it up."""

    backend: str  #: One of BACKENDS.
    file: Path  #: The ONNX file or the engine.
    shapes: Shapes  #: Output name -> shape that must come out.
    #: What the timing is about. For an engine the heading is the GPU's name; who measures, and loads the library, adds
    #: its name and version.
    subject: TimedFile
    schedule: Schedule  #: How long to measure.
    threads: int | None = None  #: Of ONNX Runtime; None: its own choice.

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {self.backend!r}")


def measure_in_child(measurement: Measurement, feed: Mapping[str, Array]) -> tuple[Timing, ...]:
    """The timings of one measurement of a call with the inputs ``feed``.

    Raises what ``measure`` raises, and RunError when the process dies.
    """
    what = f"{measurement.file.name}: measuring it with {measurement.backend}"
    answer = run_in_child(
        "ftsf_export.bench.measurement:serve",
        plain(measurement),
        feed,
        failed=lambda ending: RunError(f"{what} {ending.how}: {ending.said}", details=ending.details),
    )
    return structured(answer.value, tuple[Timing, ...], "the measuring process")


def serve(request: Message, _tell: Tell) -> Message:
    """The child's side of ``measure_in_child``."""
    measurement = structured(request.value, Measurement, "the request to measure")
    return Message(plain(measure(measurement, request.arrays)))


def measure(measurement: Measurement, feed: Mapping[str, Array]) -> tuple[Timing, ...]:
    """One timing, or for an engine two (CUDA graphs off and on).

    Raises EnvironmentLacks without the library or GPU, RunError when the file does not run or gives what it should not.
    """
    if measurement.backend == "onnxruntime":
        from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

        runner = OnnxRuntimeRunner(measurement.file, threads=measurement.threads)
        return (time_runner(runner, feed, measurement.shapes, measurement.subject, measurement.schedule),)
    return _measure_engine(measurement, feed)


def _measure_engine(measurement: Measurement, feed: Mapping[str, Array]) -> tuple[Timing, ...]:
    from ftsf_export.runners.driver import require_gpu
    from ftsf_export.runners.tensorrt import load_engine

    gpu = require_gpu(f"to run {measurement.file.name}")
    cuda = Cuda.load()
    # Before the engine is loaded, so that the memory in use before it is known.
    with gpu_monitor(gpu, cuda.pci_bus_id()) as monitor:
        engine, version = load_engine(measurement.file, measurement.backend)
        return time_engine(
            engine,
            feed,
            measurement.shapes,
            measurement.subject,
            measurement.schedule,
            runtime=f"{BACKENDS[measurement.backend]} {version}",
            cuda=cuda,
            monitor=monitor,
        )


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
