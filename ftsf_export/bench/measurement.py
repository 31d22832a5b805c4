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
from ftsf_export.process.parent import Child, Ending
from ftsf_export.process.quota import OVER_QUOTA, Quota
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


def measure_in_child(
    measurement: Measurement, feed: Mapping[str, Array], quota: Quota | None = None
) -> tuple[Timing, ...]:
    """The timings of one measurement of a call with the inputs ``feed``.

    One timing, or for an engine two (CUDA graphs off and on). ``quota``: what opening an ONNX file and its first call
    may take. Raises EnvironmentLacks without the library or GPU, RunError when the file does not run, gives what it
    should not or takes more than its quota, and when the process dies.
    """

    def failed(ending: Ending) -> RunError:
        said = OVER_QUOTA if ending.over_quota else ending.said
        what = f"{measurement.file.name}: measuring it with {measurement.backend}"
        return RunError(f"{what} {ending.how}: {said}", details=ending.details)

    with Child("ftsf_export.bench.measurement:Measuring", failed=failed) as child:
        child.call(plain(measurement))
        child.call(arrays=feed, quota=quota)
        answer = child.call()
    return structured(answer.value, tuple[Timing, ...], "the measuring process")


class Measuring:
    """The child's side of ``measure_in_child``. Three requests: what to measure, upon which the library is loaded; what
    to feed, upon which an ONNX file is opened and run once; and to measure."""

    def __init__(self) -> None:
        self._measurement: Measurement | None = None
        self._feed: Mapping[str, Array] = {}
        self._runner: Any = None

    def __call__(self, request: Message, _tell: Tell) -> Message:
        asked = self._measurement
        if asked is None:
            self._measurement = asked = structured(request.value, Measurement, "the request to measure")
            if asked.backend == "onnxruntime":
                from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner, onnxruntime

                onnxruntime()
                self._runner = OnnxRuntimeRunner(asked.file, threads=asked.threads)
            return Message()
        if not self._feed:
            self._feed = request.arrays
            if self._runner is not None:
                self._runner.activate()
                check_outputs(self._runner.infer(self._feed), asked.shapes, asked.subject.file)
            return Message()
        if self._runner is None:
            return Message(plain(_measure_engine(asked, self._feed)))
        return Message(plain((time_calls(self._runner, self._feed, asked.subject, asked.schedule),)))


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


def time_calls(
    runner: Any,
    feed: Mapping[str, Array],
    subject: TimedFile,
    schedule: Schedule,
    *,
    clock_ns: Clock = time.perf_counter_ns,
) -> Timing:
    """Time ``infer`` of an active runner with the same inputs; outputs are in host memory when it returns."""

    def call() -> None:
        # Polygraphy's check of the feed is not part of a server's work; the first call has done it.
        runner.infer(feed, check_inputs=False)

    samples = collect(call, schedule, clock_ns=clock_ns)
    return timing_from_samples(subject, samples, peak_rss_bytes=peak_rss_bytes())
