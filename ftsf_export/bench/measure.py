"""Run one job in this process. ``isolated`` runs it in a child, which is what a benchmark wants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ftsf_export.bench.cuda import Cuda
from ftsf_export.bench.engine_timing import time_engine
from ftsf_export.bench.gpu_state import gpu_monitor
from ftsf_export.bench.job import Job
from ftsf_export.bench.outputs import Array
from ftsf_export.bench.runner_timing import time_runner
from ftsf_export.bench.timing import Timing

_LIBRARIES = {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX"}


def measure(job: Job) -> tuple[Timing, ...]:
    """One timing, or for an engine two (CUDA graphs off and on).

    Raises EnvironmentLacks without the library or GPU, RunError when the file does not run or gives what it should not.
    """
    with np.load(job.feed, allow_pickle=False) as stored:
        feed = {name: stored[name] for name in stored.files}
    if job.backend == "onnxruntime":
        from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

        runner = OnnxRuntimeRunner(job.file, threads=job.threads)
        return (time_runner(runner, feed, job.shapes, job.subject, job.schedule),)
    return _measure_engine(job, feed)


def _measure_engine(job: Job, feed: dict[str, Array]) -> tuple[Timing, ...]:
    from ftsf_export.runners.driver import require_gpu
    from ftsf_export.runners.engine_file import load_engine

    require_gpu(f"to run {job.file.name}")
    cuda = Cuda.load()
    # Before the engine is loaded, so that the memory in use before it is known.
    with gpu_monitor(cuda.pci_bus_id()) as monitor:
        engine, version = load_engine(job.file, job.backend)
        subject = replace(job.subject, heading=f"{job.subject.heading} ({_LIBRARIES[job.backend]} {version})")
        return time_engine(engine, feed, job.shapes, subject, job.schedule, cuda=cuda, monitor=monitor)
