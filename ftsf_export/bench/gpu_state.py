"""The GPU's state while it works, through NVML: clocks, temperature, power, memory, and why it slowed down.

A figure measured on a GPU that throttled, or that another process shared, is another figure. NVML is optional
(package ``nvidia-ml-py``), a Jetson's state is read without it (``jetson_state``), and a device may answer some
questions and not others: what is not known is None.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

from ftsf_export.bench.jetson_state import JetsonReader, power_mode
from ftsf_export.jetson import jetson
from ftsf_export.runners.driver import Gpu
from ftsf_export.timing import GpuSample, GpuTrace

# nvml.h, nvmlClocksEventReasons. "GPU idle" and the applications' clock setting are not faults.
_REASONS = {
    0x001: "gpu idle",
    0x002: "applications clocks setting",
    0x004: "power cap (software)",
    0x008: "slowdown (hardware)",
    0x010: "sync boost",
    0x020: "thermal slowdown (software)",
    0x040: "thermal slowdown (hardware)",
    0x080: "power brake (hardware)",
    0x100: "display clock setting",
}
_THROTTLES = tuple(_REASONS[bit] for bit in (0x004, 0x008, 0x020, 0x040, 0x080))
_INTERVAL_NS = 200_000_000


def throttling(trace: GpuTrace) -> list[str]:
    """What to say of a GPU that slowed down while it was measured; nothing of one that did not."""
    seen = [reason for reason in trace.highest.throttle_reasons or () if reason in _THROTTLES]
    return [f"the GPU throttled while it was measured: {', '.join(seen)}"] if seen else []


class NvmlReader:
    """Reads one GPU. ``nvml`` is the module pynvml, initialised; ``handle`` is its handle of the device."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def read(self) -> GpuSample:
        nvml, handle = self._nvml, self._handle
        power_mw = self._ask("nvmlDeviceGetPowerUsage", handle)
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        mask = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        return GpuSample(
            sm_clock_mhz=self._ask("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM),
            memory_clock_mhz=self._ask("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_MEM),
            temperature_c=self._ask("nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU),
            power_w=None if power_mw is None else power_mw / 1e3,
            memory_used_bytes=None if memory is None else int(memory.used),
            throttle_reasons=None if mask is None else tuple(name for bit, name in _REASONS.items() if mask & bit),
        )

    def _ask(self, function: str, *arguments: Any) -> Any:
        """The answer, or None where this device or driver has none."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except (self._nvml.NVMLError, AttributeError):
            return None


class GpuMonitor:
    """Reads one GPU between timed calls. ``power_mode``: of a Jetson."""

    def __init__(
        self,
        gpu: Gpu,
        reader: NvmlReader | JetsonReader,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        power_mode: str = "",
    ) -> None:
        self._gpu = gpu
        self._read = reader.read
        self._clock_ns = clock_ns
        self._power_mode = power_mode
        self._next_ns = 0
        self._readings: list[GpuSample] = []
        self._before = self._read()

    def restart(self) -> None:
        """Forget what was read between timed calls; ``before`` stays."""
        self._readings.clear()
        self._next_ns = 0

    def tick(self) -> None:
        """Read the state if the last reading is old enough; between two timed calls."""
        now = self._clock_ns()
        if now >= self._next_ns:
            self._readings.append(self._read())
            self._next_ns = now + _INTERVAL_NS

    def trace(self) -> GpuTrace:
        after = self._read()
        readings = [*self._readings, after]
        return GpuTrace(
            device=self._gpu.name,
            driver=self._gpu.driver_version,
            samples=len(readings),
            before=self._before,
            after=after,
            lowest=_extreme(readings, min),
            highest=_extreme(readings, max),
            power_mode=self._power_mode,
        )


@contextmanager
def gpu_monitor(gpu: Gpu, pci_bus_id: str) -> Iterator[GpuMonitor | None]:
    """Watch ``gpu``, which is at this PCI address; None without NVML, but on a Jetson, which needs none.

    The address, not the ordinal: CUDA_VISIBLE_DEVICES renumbers CUDA's devices and not NVML's.
    """
    if (board := jetson()) is not None:
        known = replace(gpu, driver_version=gpu.driver_version or f"L4T {board.l4t}".strip())
        yield GpuMonitor(known, JetsonReader(), power_mode=power_mode())
        return
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        try:
            handle = pynvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id.encode())
        except pynvml.NVMLError:
            handle = None
        yield None if handle is None else GpuMonitor(gpu, NvmlReader(pynvml, handle))
    finally:
        pynvml.nvmlShutdown()


def _extreme(readings: list[GpuSample], pick: Callable[[list[Any]], Any]) -> GpuSample:
    out: dict[str, Any] = {}
    for field in fields(GpuSample):
        known = [value for reading in readings if (value := getattr(reading, field.name)) is not None]
        if field.name == "throttle_reasons":
            seen = {reason for reasons in known for reason in reasons}
            out[field.name] = tuple(name for name in _REASONS.values() if name in seen) if known else None
        else:
            out[field.name] = pick(known) if known else None
    return GpuSample(**out)
