"""Make one measurement in this process; ``bench.measurement`` makes it in a child, which is what a benchmark wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ftsf_export.bench.cuda import Cuda
from ftsf_export.bench.engine_timing import time_engine
from ftsf_export.bench.gpu_state import gpu_monitor
from ftsf_export.bench.measurement import Measurement
from ftsf_export.bench.outputs import Array
from ftsf_export.bench.runner_timing import time_runner
from ftsf_export.bench.timing import Timing
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell
from ftsf_export.strict_json import plain, structured

_LIBRARIES = {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX"}


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
    from ftsf_export.runners.engine_file import load_engine

    gpu = require_gpu(f"to run {measurement.file.name}")
    cuda = Cuda.load()
    # Before the engine is loaded, so that the memory in use before it is known.
    with gpu_monitor(gpu, cuda.pci_bus_id()) as monitor:
        engine, version = load_engine(measurement.file, measurement.backend)
        subject = replace(
            measurement.subject, heading=f"{measurement.subject.heading} ({_LIBRARIES[measurement.backend]} {version})"
        )
        return time_engine(engine, feed, measurement.shapes, subject, measurement.schedule, cuda=cuda, monitor=monitor)
