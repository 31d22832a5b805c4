"""From samples to the value that is reported: throughput, notes, and the JSON form."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ftsf_export.bench.sampling import Samples
from ftsf_export.bench.statistics import timing_from_samples
from ftsf_export.errors import BundleError
from ftsf_export.pipeline.bench import CPU_HEADING
from ftsf_export.strict_json import plain, structured
from ftsf_export.timing import GpuSample, GpuTrace, TimedFile, Timing

TRACE = GpuTrace(
    device="NVIDIA L4",
    driver="580.1",
    samples=3,
    before=GpuSample(memory_used_bytes=1 << 30),
    after=GpuSample(temperature_c=61),
    lowest=GpuSample(sm_clock_mhz=900, throttle_reasons=("gpu idle",)),
    highest=GpuSample(sm_clock_mhz=2040, throttle_reasons=("gpu idle",)),
)


def samples(latency_ms: list[float], device_ms: list[float] | None = None) -> Samples:
    device = None if device_ms is None else tuple(device_ms)
    return Samples(warmup_iterations=3, latency_ms=tuple(latency_ms), device_ms=device, elapsed_s=99.0)


def test_throughput_is_clips_over_the_time_of_their_calls(subject: TimedFile) -> None:
    timing = timing_from_samples(subject, samples([100.0, 100.0, 300.0]))
    assert timing.clips_per_s == pytest.approx(6 / 0.5)  # 3 calls of 2 clips in 0.5 s, whatever passed in between
    assert timing.video_s_per_s == pytest.approx(12.0 * 4.0)
    assert timing.heading == CPU_HEADING == "CPU (ONNX Runtime)"


def test_unknown_clip_length_gives_no_seconds_of_video(subject: TimedFile) -> None:
    assert timing_from_samples(replace(subject, clip_s=None), samples([1.0])).video_s_per_s is None


def test_few_calls_are_said(subject: TimedFile) -> None:
    few = timing_from_samples(subject, samples([1.0] * 99))
    many = timing_from_samples(subject, samples([1.0] * 100))
    assert "p99 of 99 calls" in few.subject.notes[0]
    assert many.subject.notes == ()


def test_outliers_are_said_and_counted(subject: TimedFile) -> None:
    timing = timing_from_samples(subject, samples([1.0 + 0.001 * n for n in range(200)] + [50.0]))
    assert timing.subject.notes == ("1 of 201 calls were far slower than the rest; all are counted",)
    assert timing.latency.max_ms == 50.0


def test_a_gpu_that_throttled_is_said(subject: TimedFile) -> None:
    hot = replace(TRACE, highest=GpuSample(throttle_reasons=("gpu idle", "thermal slowdown (hardware)")))
    assert timing_from_samples(subject, samples([1.0] * 100), gpu=TRACE).subject.notes == ()
    (note,) = timing_from_samples(subject, samples([1.0] * 100), gpu=hot).subject.notes
    assert note == "the GPU throttled while it was measured: thermal slowdown (hardware)"


def test_notes_of_the_subject_stay_first(subject: TimedFile) -> None:
    timing = timing_from_samples(replace(subject, notes=("fp16 runs as fp32",)), samples([1.0]))
    assert timing.subject.notes[0] == "fp16 runs as fp32"


@pytest.mark.parametrize("gpu", [None, TRACE])
def test_json_form_comes_back(subject: TimedFile, gpu: GpuTrace | None) -> None:
    timing = timing_from_samples(
        subject, samples([1.5, 2.5], [1.0, 2.0] if gpu else None), peak_rss_bytes=12345, gpu=gpu
    )
    assert structured(json.loads(json.dumps(plain(timing))), Timing, "file") == timing


def test_json_of_another_shape_is_refused(subject: TimedFile) -> None:
    data = plain(timing_from_samples(subject, samples([1.5])))
    with pytest.raises(BundleError, match="speed: not a field"):
        structured({**data, "speed": 1}, Timing, "file")
    del data["latency"]
    with pytest.raises(BundleError, match="latency: missing"):
        structured(data, Timing, "file")
