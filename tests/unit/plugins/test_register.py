"""Which way a TensorRT gets its plugins, and the driver's calls that start them: over stand-ins for both libraries."""

from __future__ import annotations

import ctypes
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftsf_plugins import register
from ftsf_plugins.cuda import CudaError, Driver
from ftsf_plugins.deploy import Unsupported
from ftsf_plugins.kernels import MachineCode

NAME = "FtsfAdditiveAttention"


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``tensorrt(quick=...)``: with or without quickly deployable plugins; notes what is registered."""
    registered: list[Any] = []
    monkeypatch.setattr(register, "_keep", [])
    monkeypatch.setattr(
        register.deploy, "register", lambda operation, **_: registered.append(f"quick {operation.name}")
    )
    monkeypatch.setattr(register.deploy, "target_here", lambda: 87)
    monkeypatch.setattr(
        register.plugin_v3,
        "register",
        lambda _trt, operations, **_: registered.append([one.name for one in operations]) or ["kept"],
    )

    def make(*, quick: bool) -> Any:
        module = types.ModuleType("stand_in_trt")
        module.IPluginV3OneRuntime = object  # type: ignore[attr-defined]
        module.registered = registered  # type: ignore[attr-defined]
        if quick:
            module.__path__ = []
            plugin = types.ModuleType("stand_in_trt.plugin")
            plugin.__spec__ = SimpleNamespace(name=plugin.__name__)  # type: ignore[assignment]
            plugin.aot_impl = None  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return module

    return make


def test_quickly_deployable_where_there_are_such(tensorrt: Any) -> None:
    trt = tensorrt(quick=True)
    assert register.register(trt, [NAME]) == "aot"
    register.register_for_runtime(trt)
    assert trt.registered == [f"quick {NAME}"]


def test_version_three_elsewhere_and_once_to_run(tensorrt: Any) -> None:
    trt = tensorrt(quick=False)
    assert register.register(trt, [NAME], Path("kernels")) == "v3"
    register.register_for_runtime(trt)
    assert trt.registered == [[NAME]]
    register._keep.clear()
    register.register_for_runtime(trt)
    register.register_for_runtime(trt)
    assert trt.registered[1:] == [[NAME, "FtsfFavorAttention", "FtsfRotaryAttention"]]


def test_a_library_without_plugins_is_left_alone(tensorrt: Any) -> None:
    trt = tensorrt(quick=False)
    del trt.IPluginV3OneRuntime
    register.register_for_runtime(trt)
    assert trt.registered == []


class Library:
    """A libcuda that notes its calls; ``fails`` names one that returns ``status``, ``cuda`` is 13000 for CUDA 13.0."""

    def __init__(self, fails: str = "", status: int = 700, *, capability: int = 87, cuda: int = 12060) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.fails, self.status, self.capability, self.cuda = fails, status, capability, cuda

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append((name, arguments))
            if name == "cuGetErrorString":
                arguments[1]._obj.value = b"an illegal memory access was encountered"
            if name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = {75: self.capability // 10, 76: self.capability % 10}[arguments[1]]
            if name == "cuDriverGetVersion":
                arguments[0]._obj.value = self.cuda
            return self.status if name == self.fails else 0

        return call


def test_the_gpu_is_asked_for_without_a_context() -> None:
    """As where a compiler is asked before anything has run."""
    library = Library("cuCtxGetDevice", 201)
    assert Driver(library).capability() == 87
    assert [name for name, _ in library.calls][:3] == ["cuCtxGetDevice", "cuInit", "cuDeviceGet"]


def test_a_call_that_fails_is_named() -> None:
    with pytest.raises(CudaError, match="cuModuleLoadData: an illegal memory access"):
        Driver(Library("cuModuleLoadData")).kernel(b"", "kernel", 0)


def test_no_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise OSError("libcuda.so.1: cannot open")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(CudaError, match="no NVIDIA driver on this machine"):
        Driver()


def test_a_gpu_without_a_kernel_is_refused_before_anything_is_built(
    tensorrt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A T4, of compute capability 7.5."""
    trt = tensorrt(quick=True)
    monkeypatch.undo()
    monkeypatch.setattr(register.deploy, "driver", lambda: Driver(Library(capability=75)))
    with pytest.raises(Unsupported, match="no kernel is made for sm_75; there are sm_80"):
        register.register(trt, [NAME], Path("kernels"))


@pytest.mark.parametrize(
    ("cuda", "ptx"),
    [(11080, 78), (12000, 80), (12050, 85), (12060, 85), (12070, 86), (12090, 88), (13000, 90), (13040, 94)],
)
def test_the_newest_ptx_of_a_driver(cuda: int, ptx: int) -> None:
    """PTX ISA, "Release Notes"."""
    assert Driver(Library(cuda=cuda)).newest_ptx() == ptx


def test_a_driver_that_takes_no_ptx_for_its_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register.deploy, "driver", lambda: Driver(Library(capability=120, cuda=12070)))
    with pytest.raises(Unsupported, match=r"sm_120 are PTX 8\.7; .* CUDA 12\.7 and takes PTX 8\.6 at most"):
        register.deploy.target_here()
    monkeypatch.setattr(register.deploy, "driver", lambda: Driver(Library(capability=120, cuda=12080)))
    assert register.deploy.target_here() == 120


def test_a_prebuilt_kernel_in_newer_ptx_is_refused() -> None:
    register.deploy.check_kernel(MachineCode("kernel", b"", ".version 8.0\n", 128, 0), 87)
    with pytest.raises(Unsupported, match=r"kernel: PTX 8\.8, expected 8\.0 for sm_87; make it again"):
        register.deploy.check_kernel(MachineCode("kernel", b"", ".version 8.8\n", 128, 0), 87)
