"""What is asked of NVML and what is made of its answers, with an NVML that answers as told."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from ftsf_export.bench.gpu_state import GpuMonitor, NvmlReader, gpu_monitor, throttling
from ftsf_export.runners.driver import Gpu, gpu_problem
from ftsf_export.timing import GpuSample

L4 = Gpu(name="NVIDIA L4", capability="8.9", memory_bytes=24 << 30, driver_version="580.65.06", cuda_version="13.0")


class FakeNvml:
    """pynvml with one GPU. ``unsupported`` functions raise, as on a device that does not answer them."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    class NVMLError(Exception):
        pass

    def __init__(self, *, unsupported: tuple[str, ...] = (), init_fails: bool = False) -> None:
        self.unsupported = unsupported
        self.init_fails = init_fails
        self.sm, self.temperature, self.mask, self.used = 1500, 40, 0, 2 << 30
        self.asked_for: list[Any] = []
        self.open = 0

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in object.__getattribute__(self, "unsupported"):

            def refuse(*_arguments: Any) -> Any:
                raise self.NVMLError("Not Supported")

            return refuse
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None:  # noqa: N802
        if self.init_fails:
            raise self.NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetHandleByPciBusId(self, bus: bytes) -> str:  # noqa: N802
        self.asked_for.append(bus)
        return "handle"

    def nvmlDeviceGetClockInfo(self, _handle: str, kind: int) -> int:  # noqa: N802
        return self.sm if kind == self.NVML_CLOCK_SM else 6251

    def nvmlDeviceGetTemperature(self, _handle: str, _sensor: int) -> int:  # noqa: N802
        return self.temperature

    def nvmlDeviceGetPowerUsage(self, _handle: str) -> int:  # noqa: N802
        return 71_500

    def nvmlDeviceGetMemoryInfo(self, _handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(used=self.used, total=24 << 30)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _handle: str) -> int:  # noqa: N802
        return self.mask


def test_extremes_lie_between_the_timed_calls(clock: Any) -> None:
    nvml = FakeNvml()
    monitor = GpuMonitor(L4, NvmlReader(nvml, "handle"), clock)
    for sm, temperature, mask, used in ((2040, 50, 0x4, 3 << 30), (900, 71, 0x40, 5 << 30), (1800, 60, 0, 4 << 30)):
        nvml.sm, nvml.temperature, nvml.mask, nvml.used = sm, temperature, mask, used
        monitor.tick()
        clock.pass_ms(250)
    trace = monitor.trace()
    assert (trace.device, trace.driver, trace.samples) == ("NVIDIA L4", "580.65.06", 4)
    assert (trace.before.sm_clock_mhz, trace.before.memory_used_bytes) == (1500, 2 << 30)
    assert (trace.lowest.sm_clock_mhz, trace.highest.sm_clock_mhz, trace.after.sm_clock_mhz) == (900, 2040, 1800)
    assert (trace.lowest.temperature_c, trace.highest.temperature_c) == (50, 71)
    assert trace.highest.memory_used_bytes == 5 << 30
    assert trace.highest.power_w == 71.5
    assert trace.highest.throttle_reasons == ("power cap (software)", "thermal slowdown (hardware)")
    assert throttling(trace) == [
        "the GPU throttled while it was measured: power cap (software), thermal slowdown (hardware)"
    ]


def test_readings_are_at_least_a_fifth_of_a_second_apart(clock: Any) -> None:
    monitor = GpuMonitor(L4, NvmlReader(FakeNvml(), "handle"), clock)
    for _ in range(100):
        monitor.tick()
        clock.pass_ms(10)  # one second in all
    assert monitor.trace().samples == 5 + 1


def test_restart_forgets_the_calls_and_keeps_before(clock: Any) -> None:
    nvml = FakeNvml()
    monitor = GpuMonitor(L4, NvmlReader(nvml, "handle"), clock)
    nvml.temperature = 90
    monitor.tick()
    monitor.restart()
    nvml.temperature = 55
    monitor.tick()
    trace = monitor.trace()
    assert (trace.before.temperature_c, trace.highest.temperature_c) == (40, 55)


def test_what_a_device_does_not_answer_is_unknown(clock: Any) -> None:
    nvml = FakeNvml(
        unsupported=("nvmlDeviceGetPowerUsage", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetCurrentClocksThrottleReasons")
    )
    trace = GpuMonitor(L4, NvmlReader(nvml, "handle"), clock).trace()
    assert trace.highest == GpuSample(sm_clock_mhz=1500, memory_clock_mhz=6251, temperature_c=40)
    assert throttling(trace) == []


def test_an_idle_gpu_is_no_throttle(clock: Any) -> None:
    nvml = FakeNvml()
    nvml.mask = 0x1 | 0x2
    trace = GpuMonitor(L4, NvmlReader(nvml, "handle"), clock).trace()
    assert trace.highest.throttle_reasons == ("gpu idle", "applications clocks setting")
    assert throttling(trace) == []


def test_the_gpu_is_found_by_its_pci_address(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with gpu_monitor(L4, "0000:3B:00.0") as monitor:
        assert monitor is not None
        assert nvml.open == 1
    assert nvml.asked_for == [b"0000:3B:00.0"]
    assert nvml.open == 0


@pytest.mark.parametrize("nvml", [None, FakeNvml(init_fails=True)])
def test_no_nvml_no_monitor(monkeypatch: pytest.MonkeyPatch, nvml: Any) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)  # None: the import fails
    with gpu_monitor(L4, "0000:3B:00.0") as monitor:
        assert monitor is None


def test_no_gpu_at_that_address_no_monitor_and_nvml_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(unsupported=("nvmlDeviceGetHandleByPciBusId",))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with gpu_monitor(L4, "0000:3B:00.0") as monitor:
        assert monitor is None
    assert nvml.open == 0


@pytest.mark.skipif(not gpu_problem(), reason="there is a GPU here")
def test_the_real_nvml_without_a_driver() -> None:
    pytest.importorskip("pynvml")
    with gpu_monitor(L4, "0000:00:00.0") as monitor:
        assert monitor is None
