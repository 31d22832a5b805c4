"""Calls on an engine, with host memory in the GPU's place: outputs, order, graphs, and nothing left behind."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ftsf_export.bench.cuda import Cuda
from ftsf_export.bench.device_loop import CaptureError, DeviceLoop
from ftsf_export.errors import RunError
from ftsf_export.runners.driver import gpu_problem

# Every function of the CUDA runtime that we call.
FUNCTIONS = (
    *("cudaGetErrorString", "cudaGetDeviceCount", "cudaGetDevice", "cudaDeviceGetPCIBusId"),
    *("cudaStreamCreate", "cudaStreamSynchronize", "cudaStreamDestroy", "cudaMalloc", "cudaFree"),
    *("cudaHostRegister", "cudaHostUnregister", "cudaMemcpyAsync"),
    *("cudaEventCreate", "cudaEventRecord", "cudaEventElapsedTime", "cudaEventDestroy"),
    *("cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiateWithFlags"),
    *("cudaGraphDestroy", "cudaGraphLaunch", "cudaGraphExecDestroy"),
)
CLIP = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def expected(clip: Any = CLIP) -> Any:
    return clip.reshape(len(clip), -1).sum(axis=1)[:, None] + np.arange(3, dtype=np.float32)


def loop_on(engine: Any, *, graph: bool = False, clip: Any = CLIP) -> DeviceLoop:
    return DeviceLoop(engine, {"clip": clip}, graph=graph, cuda=Cuda(engine.cudart))


def add_runtime_config(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine becomes one of TensorRT for RTX, whose runtime captures graphs by itself."""

    class Strategy:
        def __init__(self, name: str) -> None:
            self.name = name

    Strategy.DISABLED = Strategy("DISABLED")  # type: ignore[attr-defined]
    Strategy.WHOLE_GRAPH_CAPTURE = Strategy("WHOLE_GRAPH_CAPTURE")  # type: ignore[attr-defined]

    def make() -> Any:
        return SimpleNamespace(cuda_graph_strategy=Strategy.DISABLED)  # type: ignore[attr-defined]

    monkeypatch.setattr(engine, "create_runtime_config", make, raising=False)


@pytest.mark.parametrize("graph", [False, True])
def test_outputs_and_device_time(engine: Any, graph: bool) -> None:
    with loop_on(engine, graph=graph) as loop:
        for _ in range(3):
            assert loop() == pytest.approx(engine.cudart.gpu_ms)
        np.testing.assert_array_equal(loop.outputs()["logits"], expected())
    assert loop.graph_how == ("stream captured" if graph else "off")


def test_inputs_are_copied_at_each_call_and_only_the_run_is_timed(engine: Any) -> None:
    with loop_on(engine) as loop:
        engine.cudart.calls.clear()
        loop()
        assert engine.cudart.calls == [
            "cudaMemcpyAsync",
            "cudaEventRecord",
            "cudaEventRecord",
            "cudaMemcpyAsync",
            "cudaStreamSynchronize",
            "cudaEventElapsedTime",
        ]


def test_a_graph_is_captured_once_after_a_plain_run_and_then_launched(engine: Any) -> None:
    with loop_on(engine, graph=True) as loop:
        calls = engine.cudart.calls
        assert calls.index("cudaStreamSynchronize") < calls.index("cudaStreamBeginCapture")
        runs_before = engine.cudart.device_ms
        loop()
        loop()
        assert engine.cudart.device_ms == runs_before + 2 * engine.cudart.gpu_ms
        assert (calls.count("cudaStreamBeginCapture"), calls.count("cudaGraphLaunch")) == (1, 2)


def test_the_runtime_of_rtx_captures_by_itself(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add_runtime_config(engine, monkeypatch)
    with loop_on(engine, graph=True) as loop:
        loop()
        np.testing.assert_array_equal(loop.outputs()["logits"], expected())
    assert [context.strategy for context in engine.contexts] == ["WHOLE_GRAPH_CAPTURE"]
    assert loop.graph_how == "captured by the runtime (TensorRT-RTX)"
    assert "cudaStreamBeginCapture" not in engine.cudart.calls


def test_without_graphs_rtx_is_told_nothing(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add_runtime_config(engine, monkeypatch)
    with loop_on(engine) as loop:
        loop()
    assert [context.strategy for context in engine.contexts] == ["none"]


@pytest.mark.parametrize("graph", [False, True])
def test_kernels_of_rtx_are_those_of_the_shape(engine: Any, monkeypatch: pytest.MonkeyPatch, graph: bool) -> None:
    """NVIDIA's own names: the stand-in holds its enumerations, and its configuration has these two properties."""
    rtx = pytest.importorskip("tensorrt_rtx")
    config = SimpleNamespace(
        dynamic_shapes_kernel_specialization_strategy=rtx.DynamicShapesKernelSpecializationStrategy.LAZY,
        cuda_graph_strategy=rtx.CudaGraphStrategy.DISABLED,
    )
    assert all(isinstance(getattr(rtx.IRuntimeConfig, name), property) for name in vars(config))
    monkeypatch.setattr(engine, "create_runtime_config", lambda: config, raising=False)
    with loop_on(engine, graph=graph) as loop:
        loop()
    eager = rtx.DynamicShapesKernelSpecializationStrategy.EAGER
    assert config.dynamic_shapes_kernel_specialization_strategy == eager
    assert [context.strategy for context in engine.contexts] == ["WHOLE_GRAPH_CAPTURE" if graph else "DISABLED"]
    assert loop.kernels_how == "specialised to the shape before the first run (TensorRT-RTX)"


@pytest.mark.parametrize("graph", [False, True])
def test_everything_made_is_given_back(engine: Any, graph: bool) -> None:
    with loop_on(engine, graph=graph) as loop:
        loop()
        assert engine.cudart.live
    assert engine.cudart.live == {}


@pytest.mark.parametrize("function", ["cudaMalloc", "cudaHostAlloc", "cudaEventCreate", "cudaMemcpyAsync"])
def test_a_failing_call_is_named_and_leaves_nothing_behind(engine: Any, function: str) -> None:
    engine.cudart.fail[function] = 2
    with pytest.raises(RunError, match=rf"{function} returned status 2 \(fake error 2\)"), loop_on(engine) as loop:
        loop()
    assert engine.cudart.live == {}


def test_the_first_error_is_told_when_the_clean_up_fails_too(engine: Any) -> None:
    engine.cudart.fail.update(cudaStreamSynchronize=700, cudaFree=700, cudaFreeHost=700)
    with pytest.raises(RunError, match="cudaStreamSynchronize returned status 700"), loop_on(engine) as loop:
        loop()


def test_a_clean_up_that_fails_alone_is_told(engine: Any) -> None:
    engine.cudart.fail["cudaFree"] = 700
    with pytest.raises(RunError, match="cudaFree returned status 700"), loop_on(engine) as loop:
        loop()


def test_a_run_that_cannot_be_enqueued_while_captured(engine: Any) -> None:
    engine.refuses_capture = True
    with pytest.raises(CaptureError, match="could not be enqueued"), loop_on(engine, graph=True):
        pytest.fail("entered")
    assert engine.cudart.capturing is None
    assert engine.cudart.live == {}


@pytest.mark.parametrize(
    "function", ["cudaStreamEndCapture", "cudaGraphInstantiateWithFlags", "cudaStreamBeginCapture"]
)
def test_a_capture_that_cuda_refuses(engine: Any, function: str) -> None:
    engine.cudart.fail[function] = 900
    with pytest.raises(RunError, match=f"{function} returned status 900") as caught, loop_on(engine, graph=True):
        pytest.fail("entered")
    assert isinstance(caught.value, CaptureError)


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        ({}, r"expected inputs \['clip'\], got \[\]"),
        ({"clip": CLIP, "extra": CLIP}, r"got \['clip', 'extra'\]"),
        ({"clip": CLIP.astype(np.float64)}, "expected float32, got float64"),
        ({"clip": np.zeros((5, 3, 4), np.float32)}, r"shape \(5, 3, 4\) is outside the engine's profile"),
    ],
)
def test_a_feed_that_does_not_fit(engine: Any, feed: dict[str, Any], words: str) -> None:
    loop = DeviceLoop(engine, feed, graph=False, cuda=Cuda(engine.cudart))
    with pytest.raises(RunError, match=words), loop:
        pytest.fail("entered")
    assert engine.cudart.live == {}


def test_a_type_without_a_numpy_type(engine: Any) -> None:
    engine.dtype = "BF16"
    with pytest.raises(RunError, match="clip is BF16; expected one of FLOAT"), loop_on(engine):
        pytest.fail("entered")


def test_an_engine_without_outputs_proves_nothing(engine: Any) -> None:
    engine.num_io_tensors = 1
    with pytest.raises(RunError, match="no output"), loop_on(engine):
        pytest.fail("entered")


def test_a_strided_clip_is_made_contiguous(engine: Any) -> None:
    clip = np.asfortranarray(CLIP)
    with loop_on(engine, clip=clip) as loop:
        loop()
        np.testing.assert_array_equal(loop.outputs()["logits"], expected())


def test_pci_address(cudart: Any) -> None:
    assert Cuda(cudart).pci_bus_id() == "0000:3B:00.0"


@pytest.mark.parametrize("name", ["libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0"])
def test_the_real_runtime_library_has_every_function(name: str) -> None:
    try:
        library = ctypes.CDLL(name)
    except OSError:
        pytest.skip(f"{name} is not on this machine")
    for function in FUNCTIONS:
        assert hasattr(library, function)
    if gpu_problem():
        with pytest.raises(RunError, match=r"cudaStreamCreate returned status \d+ \(.+\)"):
            Cuda(library).create_stream()
