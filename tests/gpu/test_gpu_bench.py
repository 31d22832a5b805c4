"""Figures of a real GPU: not how fast it is, but whether they can be true."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ftsf_export.bench.cuda import Cuda
from ftsf_export.bench.gpu_state import gpu_monitor
from ftsf_export.bench.request import BenchRequest
from ftsf_export.bundle import Bundle, EngineEntry
from ftsf_export.cli.main import ftsf, run
from ftsf_export.doctor.examine import run_probe
from ftsf_export.pipeline.bench import CPU_HEADING, measure_bundle
from ftsf_export.runners.driver import require_gpu
from ftsf_export.timing import Timing

MakeBundle = Callable[..., tuple[Bundle, EngineEntry]]


@pytest.fixture(scope="module")
def timings(gpu_bundle: MakeBundle) -> tuple[Timing, ...]:
    bundle, engine = gpu_bundle()
    return measure_bundle(bundle.path, BenchRequest(runner=engine.builder, batch=1))


def test_cuda_graphs_off_and_on_under_the_gpus_name(timings: tuple[Timing, ...]) -> None:
    name = run_probe("driver").answer["gpus"][0]["name"]
    assert len(timings) == 2, timings[0].subject.notes
    off, on = timings
    assert off.heading.startswith(f"{name} (TensorRT")
    assert on.heading == off.heading.removesuffix(")") + ", CUDA graph)"
    assert (off.subject.conditions["CUDA graph"], on.subject.conditions["CUDA graph"] != "off") == ("off", True)


def test_long_and_often_enough(timings: tuple[Timing, ...]) -> None:
    for timing in timings:
        assert timing.elapsed_s >= 3.0
        assert timing.latency.count >= 10


def test_the_computation_is_shorter_than_the_call_around_it(timings: tuple[Timing, ...]) -> None:
    for timing in timings:
        assert timing.device is not None
        assert 0 < timing.device.p50_ms < timing.latency.p50_ms


def test_a_graph_is_not_slower_than_its_launches(timings: tuple[Timing, ...]) -> None:
    """A small model is bound by its launches, which the graph takes away; a fifth is left for noise."""
    off, on = timings
    assert on.latency.p50_ms <= 1.2 * off.latency.p50_ms


def test_clocks_and_temperature_are_those_of_a_gpu_at_work(timings: tuple[Timing, ...]) -> None:
    with gpu_monitor(require_gpu("to read its state"), Cuda.load().pci_bus_id()) as monitor:
        if monitor is None:
            pytest.skip("no NVML: nvidia-ml-py is not installed, or this device has none")
    for timing in timings:
        assert timing.gpu is not None
        assert timing.gpu.samples >= 3.0 / 0.2 / 2
        if timing.gpu.highest.sm_clock_mhz is not None:
            assert 100 <= timing.gpu.highest.sm_clock_mhz <= 5000
        if timing.gpu.highest.temperature_c is not None:
            assert 10 <= timing.gpu.highest.temperature_c <= 110


def test_auto_takes_the_gpu_and_onnxruntime_stays_the_cpu(
    gpu_bundle: MakeBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, _engine = gpu_bundle()
    for runner, is_cpu in (("auto", False), ("onnxruntime", True)):
        assert run(ftsf, ["bench", str(bundle.path), "--runner", runner, "--seconds", "0.2", "--json"], "ftsf") == 0
        answer = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert {timing["subject"]["on_gpu"] for timing in answer["timings"]} == {not is_cpu}
        assert {timing["subject"]["heading"] == CPU_HEADING for timing in answer["timings"]} == {is_cpu}


def test_doctor_lists_the_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ftsf, ["doctor", "--json"], "ftsf") == 0
    driver = json.loads(capsys.readouterr().out.splitlines()[-1])["libraries"]["driver"]
    assert driver["problem"] == ""
    assert driver["gpus"][0]["memory_bytes"] > 1 << 30
    assert int(driver["gpus"][0]["compute_capability"].split(".")[0]) >= 5
