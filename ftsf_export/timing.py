"""The value that a benchmark gives: what was run, where, for how long, and how fast it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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


@dataclass(frozen=True, kw_only=True)
class GpuSample:
    """One reading; None for what the device does not tell."""

    sm_clock_mhz: int | None = None  #: Clock of the multiprocessors.
    memory_clock_mhz: int | None = None  #: Clock of the memory.
    temperature_c: int | None = None  #: In degrees Celsius.
    power_w: float | None = None  #: In watts.
    memory_used_bytes: int | None = None  #: Of the whole device, other processes included.
    throttle_reasons: tuple[str, ...] | None = None  #: Why its clocks are lower than they could be.


@dataclass(frozen=True, kw_only=True)
class GpuTrace:
    """The readings of one benchmark."""

    device: str  #: The GPU's name.
    driver: str  #: The driver's version.
    samples: int  #: Readings between the timed calls, and the last.
    before: GpuSample  #: Read before the engine is loaded.
    after: GpuSample  #: Read when the last call has ended.
    lowest: GpuSample  #: Each figure's least between the timed calls, and every throttle reason that was seen.
    highest: GpuSample  #: Each figure's most, and the same reasons.
    power_mode: str = ""  #: Of a Jetson, as ``nvpmodel -q`` names it ("MAXN"); empty where there is none.


@dataclass(frozen=True, kw_only=True)
class TimedFile:
    """What is measured, and how."""

    #: Where and by what, for example ``CPU (ONNX Runtime)`` or ``NVIDIA L4 (TensorRT 11.1.0, CUDA graph)``.
    heading: str
    on_gpu: bool  #: Whether a GPU ran it, and not a CPU.
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
