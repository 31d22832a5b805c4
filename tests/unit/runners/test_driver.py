"""The door to the driver: GPUs as values, a sentence for each thing that is wrong, every status looked at."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from ftsf_export.errors import EnvironmentLacks
from ftsf_export.runners import driver
from ftsf_export.runners.driver import Gpu

L4 = Gpu(name="NVIDIA L4", capability="8.9", memory_bytes=24 << 30, driver_version="580.65.06", cuda_version="12.9")
CALLS = (
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceTotalMem_v2",
    "cuDeviceGetAttribute",
)


class FakeLibrary:
    """libcuda and NVML in one. ``failing`` is a function that returns status 100."""

    def __init__(self, *, gpus: int = 1, failing: str = "") -> None:
        self.gpus, self.failing = gpus, failing
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name == self.failing:
                return 100
            values: dict[str, int | bytes] = {
                "cuDriverGetVersion": 12090,
                "cuDeviceGetCount": self.gpus,
                "cuDeviceTotalMem_v2": 24 << 30,
                "cuDeviceGetName": b"NVIDIA L4",
                "nvmlSystemGetDriverVersion": b"580.65.06",
            }
            if name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = {75: 8, 76: 9}[arguments[1].value]
            elif name in values:
                getattr(arguments[0], "_obj", arguments[0]).value = values[name]
            return 0

        return call


def test_nvml_is_closed_also_where_it_does_not_tell_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeLibrary(failing="nvmlSystemGetDriverVersion")
    use(monkeypatch, cuda=FakeLibrary(), nvml=nvml)
    assert driver.gpus()[0].driver_version == ""
    assert nvml.calls == ["nvmlInit_v2", "nvmlSystemGetDriverVersion", "nvmlShutdown"]


def use(monkeypatch: pytest.MonkeyPatch, **libraries: FakeLibrary) -> None:
    """``cuda`` and ``nvml``; what is left out cannot be loaded."""

    def load(name: str) -> FakeLibrary:
        kind = "nvml" if "nvidia-ml" in name else "cuda"
        if kind not in libraries:
            raise OSError(f"{name}: cannot open shared object file")
        return libraries[kind]

    monkeypatch.setattr(ctypes, "CDLL", load)


def test_a_gpu_is_what_driver_and_nvml_say(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeLibrary()
    use(monkeypatch, cuda=FakeLibrary(gpus=2), nvml=nvml)
    assert driver.gpus() == (L4, L4)
    assert nvml.calls == ["nvmlInit_v2", "nvmlSystemGetDriverVersion", "nvmlShutdown"]
    assert driver.gpu_problem() == ""
    assert driver.first_gpu() == driver.require_gpu("to run an engine") == L4


@pytest.mark.parametrize("libraries", [{}, {"nvml": FakeLibrary(failing="nvmlInit_v2")}])
def test_the_drivers_version_is_empty_where_nvml_does_not_tell_it(
    monkeypatch: pytest.MonkeyPatch, libraries: dict[str, FakeLibrary]
) -> None:
    use(monkeypatch, cuda=FakeLibrary(), **libraries)
    gpu = driver.first_gpu()
    assert gpu is not None
    assert (gpu.driver_version, gpu.cuda_version) == ("", "12.9")


@pytest.mark.parametrize("failing", CALLS)
def test_every_status_is_looked_at(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    use(monkeypatch, cuda=FakeLibrary(failing=failing))
    assert driver.gpu_problem() == f"the NVIDIA driver does not answer ({failing} returned 100)"
    assert driver.first_gpu() is None
    with pytest.raises(EnvironmentLacks, match=rf"a GPU is needed to run an engine: .*{failing} returned 100"):
        driver.require_gpu("to run an engine")


def test_no_driver_and_no_gpu_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch)
    assert driver.gpu_problem().startswith("no NVIDIA driver on this machine")
    use(monkeypatch, cuda=FakeLibrary(gpus=0))
    assert driver.gpu_problem() == "the NVIDIA driver finds no GPU"
    assert driver.gpus() == ()
