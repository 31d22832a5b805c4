# ruff: noqa: N802, N815 - functions have the names that the CUDA runtime gives them
"""A clock that goes as told, and a GPU made of host memory: a CUDA runtime library and an engine for it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ftsf_export.timing import TimedFile

MS = 1_000_000  # nanoseconds


class FakeClock:
    """Nanoseconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 5_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_ms(self, milliseconds: float) -> None:
        self.now += round(milliseconds * MS)


class _ErrorString:
    restype: Any = None

    def __call__(self, status: ctypes.c_int) -> bytes:
        return f"fake error {status.value}".encode()


@dataclass
class FakeCudart:
    """libcudart whose device is host memory. Work on a stream runs at once, or is kept while the stream is captured.

    ``live`` holds every handle that was made and not yet given back; ``fail`` maps a function's name to the status
    that it returns instead of working. ``gpu_ms`` is how long a run takes on its own clock.
    """

    fail: dict[str, int] = field(default_factory=dict)
    gpu_ms: float = 2.0
    calls: list[str] = field(default_factory=list)
    live: dict[int, Any] = field(default_factory=dict)
    device_ms: float = 0.0
    capturing: list[Callable[[], None]] | None = None
    cudaGetErrorString: _ErrorString = field(default_factory=_ErrorString)

    def enqueue(self, work: Callable[[], None]) -> None:
        def run() -> None:
            self.device_ms += self.gpu_ms
            work()

        if self.capturing is None:
            run()
        else:
            self.capturing.append(run)

    def __getattr__(self, name: str) -> Callable[..., int]:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name in self.fail:
                return self.fail[name]
            getattr(self, f"_{name}")(*arguments)
            return 0

        return call

    def _make(self, handle: Any, thing: Any) -> None:
        address = 0x1000 + 16 * len(self.calls)
        self.live[address] = thing
        handle._obj.value = address

    def _drop(self, handle: ctypes.c_void_p) -> None:
        del self.live[handle.value or 0]

    def _cudaGetDevice(self, device: Any) -> None:
        device._obj.value = 0

    def _cudaDeviceGetPCIBusId(self, text: Any, _size: Any, _device: Any) -> None:
        text.value = b"0000:3B:00.0"

    def _cudaStreamCreate(self, handle: Any) -> None:
        self._make(handle, "stream")

    def _cudaEventCreate(self, handle: Any) -> None:
        self._make(handle, "event")

    _cudaStreamDestroy = _cudaEventDestroy = _cudaGraphDestroy = _cudaGraphExecDestroy = _drop

    def _cudaStreamSynchronize(self, _stream: Any) -> None:
        assert self.capturing is None, "synchronising a stream that is being captured"

    def _cudaMalloc(self, handle: Any, size: ctypes.c_size_t) -> None:
        buffer = ctypes.create_string_buffer(b"\xff" * size.value, size.value)
        address = ctypes.addressof(buffer)
        self.live[address] = buffer
        handle._obj.value = address

    def _cudaFree(self, address: ctypes.c_void_p) -> None:
        self._drop(address)

    def _cudaHostAlloc(self, handle: Any, size: Any, _flags: Any) -> None:
        self._cudaMalloc(handle, size)

    def _cudaFreeHost(self, address: ctypes.c_void_p) -> None:
        self._drop(address)

    def _cudaMemcpyAsync(self, target: Any, source: Any, size: Any, _kind: Any, _stream: Any) -> None:
        assert self.capturing is None, "copies are not part of the captured graph"
        ctypes.memmove(target, source, size.value)

    def _cudaEventRecord(self, event: Any, _stream: Any) -> None:
        self.live[event.value] = self.device_ms

    def _cudaEventElapsedTime(self, elapsed: Any, start: Any, end: Any) -> None:
        elapsed._obj.value = self.live[end.value] - self.live[start.value]

    def _cudaStreamBeginCapture(self, _stream: Any, _mode: Any) -> None:
        self.capturing = []

    def _cudaStreamEndCapture(self, _stream: Any, graph: Any) -> None:
        self._make(graph, self.capturing)
        self.capturing = None

    def _cudaGraphInstantiateWithFlags(self, executable: Any, graph: Any, _flags: Any) -> None:
        self._make(executable, list(self.live[graph.value]))

    def _cudaGraphLaunch(self, executable: Any, _stream: Any) -> None:
        for run in self.live[executable.value]:
            run()


class FakeContext:
    """Execution context: logits[b, :] is the sum of clip b, plus 0, 1, 2..."""

    def __init__(self, engine: FakeEngine, strategy: str = "none") -> None:
        self.engine = engine
        self.strategy = strategy
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return shape[0] <= self.engine.max_batch

    def get_tensor_shape(self, _name: str) -> tuple[int, ...]:
        return (self.shapes["clip"][0], self.engine.classes)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, _stream: int) -> bool:
        if self.engine.refuses_capture and self.engine.cudart.capturing is not None:
            return False
        self.engine.cudart.enqueue(self._run)
        return True

    def _run(self) -> None:
        shape = self.shapes["clip"]
        clip = _floats(self.addresses["clip"], shape)
        logits = clip.reshape(shape[0], -1).sum(axis=1)[:, None] + np.arange(self.engine.classes, dtype=np.float32)
        _floats(self.addresses["logits"], logits.shape)[...] = logits * self.engine.scale


def _floats(address: int, shape: tuple[int, ...]) -> Any:
    count = int(np.prod(shape))
    return np.frombuffer((ctypes.c_float * count).from_address(address), dtype=np.float32).reshape(shape)


@dataclass
class FakeEngine:
    """ICudaEngine with the input ``clip`` and the output ``logits``."""

    cudart: FakeCudart
    max_batch: int = 4
    classes: int = 3
    scale: float = 1.0
    dtype: str = "FLOAT"
    refuses_capture: bool = False
    num_io_tensors: int = 2
    contexts: list[FakeContext] = field(default_factory=list)

    def get_tensor_name(self, index: int) -> str:
        return ("clip", "logits")[index]

    def get_tensor_mode(self, name: str) -> Any:
        return SimpleNamespace(name="INPUT" if name == "clip" else "OUTPUT")

    def get_tensor_dtype(self, _name: str) -> Any:
        return SimpleNamespace(name=self.dtype)

    def create_execution_context(self, config: Any = None) -> FakeContext:
        strategy = "none" if config is None else config.cuda_graph_strategy.name
        self.contexts.append(FakeContext(self, strategy))
        return self.contexts[-1]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cudart() -> FakeCudart:
    return FakeCudart()


@pytest.fixture
def engine(cudart: FakeCudart) -> FakeEngine:
    return FakeEngine(cudart)


@pytest.fixture
def subject() -> TimedFile:
    return TimedFile(
        heading="CPU (ONNX Runtime)",
        on_gpu=False,
        file="model.onnx",
        sha256="0" * 64,
        weights="random, seed 0",
        precision="fp32",
        batch=2,
        clip_s=4.0,
        clip_assumption="8 frames x stride 15 of a video of 30 frames a second",
        conditions={"provider": "CPUExecutionProvider"},
    )
