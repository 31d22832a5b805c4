"""The value that a benchmark gives: what was run, where, for how long, and how fast it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ftsf_export.bench.gpu_state import GpuTrace
from ftsf_export.bench.sampling import Samples
from ftsf_export.bench.statistics import LatencySummary, summary_from_latencies

CPU_HEADING = "CPU (ONNX Runtime)"

# Below this many samples the 99th percentile lies between the two slowest calls.
_ENOUGH_FOR_P99 = 100


@dataclass(frozen=True, kw_only=True)
class TimedFile:
    """What is measured, and how."""

    #: Where and by what, for example ``CPU (ONNX Runtime)`` or ``NVIDIA L4 (TensorRT 11.1.0, CUDA graph)``.
    heading: str
    file: str  #: The measured file, relative to the bundle.
    sha256: str  #: Its hash.
    weights: str  #: Where they come from; random ones are said with every figure.
    precision: str  #: Of the file; what the machine really computes in is said in ``notes`` where it differs.
    batch: int  #: Clips a call.
    clip_s: float | None  #: Seconds of video that one clip stands for; None when it is not known.
    clip_assumption: str  #: How ``clip_s`` was found.
    #: What else the figures depend on: providers, threads, CUDA graph, input and output memory.
    conditions: Mapping[str, str]
    notes: tuple[str, ...] = ()  #: What a reader must know before believing the figures.


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How fast one file ran on one machine, one call at a time: the next starts when the last one has ended."""

    subject: TimedFile  #: What was measured, and how.
    warmup_iterations: int  #: Calls before the first timed one.
    elapsed_s: float  #: Seconds from the first timed call to the end of the last.
    latency: LatencySummary  #: From inputs in host memory to outputs in host memory.
    device: LatencySummary | None  #: The computation alone, by the device's own clock; None on a CPU.
    clips_per_s: float  #: The clips of all timed calls over the time that those calls took.
    #: Above 1 is faster than real time for clips laid end to end; None where ``clip_s`` is.
    video_s_per_s: float | None
    #: The most memory that the measuring process ever held, its libraries and the loading included.
    peak_rss_bytes: int | None
    gpu: GpuTrace | None  #: The GPU's state meanwhile; None where it is not known.

    @property
    def heading(self) -> str:
        return self.subject.heading


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
        notes += gpu.warnings()
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
