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

NAME = "FtsfAdditiveAttention"


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``tensorrt(quick=...)``: with or without quickly deployable plugins; notes what is registered."""
    registered: list[Any] = []
    monkeypatch.setattr(register, "_keep", [])
    monkeypatch.setattr(register.deploy, "register", lambda operation: registered.append(f"quick {operation.name}"))
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
    assert trt.registered[1:] == [[NAME, "FtsfFavorAttention"]]


def test_a_library_without_plugins_is_left_alone(tensorrt: Any) -> None:
    trt = tensorrt(quick=False)
    del trt.IPluginV3OneRuntime
    register.register_for_runtime(trt)
    assert trt.registered == []


class Library:
    """A libcuda that notes its calls; ``fails`` names one that returns 700."""

    def __init__(self, fails: str = "") -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.fails = fails

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append((name, arguments))
            if name == "cuGetErrorString":
                arguments[1]._obj.value = b"an illegal memory access was encountered"
            if name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = {75: 8, 76: 7}[arguments[1]]
            return 700 if name == self.fails else 0

        return call


def test_the_calls_of_the_driver() -> None:
    library = Library()
    driver = Driver(library)
    assert driver.capability() == 87
    driver.function(b"small", "kernel", 1024)
    assert "cuFuncSetAttribute" not in [name for name, _ in library.calls]
    function = driver.function(b"large", "kernel", 64 * 1024)
    assert library.calls[-1] == ("cuFuncSetAttribute", (function, 8, 64 * 1024))
    arguments = [ctypes.c_void_p(1 << 40), ctypes.c_int32(-3)]
    driver.start(function, (7, 8, 1), 128, 64 * 1024, 99, arguments)
    name, (started, *sizes, shared, stream, pointers, extra) = library.calls[-1]
    assert (name, started, sizes, shared, stream.value, extra) == (
        "cuLaunchKernel", function, [7, 8, 1, 128, 1, 1], 64 * 1024, 99, None,
    )  # fmt: skip
    assert ctypes.cast(pointers[0], ctypes.POINTER(ctypes.c_uint64)).contents.value == 1 << 40
    assert ctypes.cast(pointers[1], ctypes.POINTER(ctypes.c_int32)).contents.value == -3


def test_a_call_that_fails_is_named() -> None:
    with pytest.raises(CudaError, match="cuModuleLoadData: an illegal memory access"):
        Driver(Library("cuModuleLoadData")).function(b"", "kernel", 0)


def test_no_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise OSError("libcuda.so.1: cannot open")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(CudaError, match="no NVIDIA driver on this machine"):
        Driver()
