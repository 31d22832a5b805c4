"""One engine on one GPU, ready to be called again and again: everything is allocated before the first call.

Polygraphy's runner sets addresses, allocates outputs through a callback and copies pageable memory at each call:
right for comparing numbers, and not what a server does. Here a call is: copy the inputs from pinned memory, run, copy
the outputs to pinned memory, wait. CUDA events around the run give the time of the computation alone.

Written from the documentation of CUDA and TensorRT, and tested with a recording library in place of CUDA;
``tests/gpu`` runs it on hardware.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bench.cuda import Cuda
from ftsf_export.errors import RunError
from ftsf_export.runners.specialised import HELD, SPECIALISED, specialise

Array = npt.NDArray[Any]

# Names of TensorRT's DataType. Others (BF16, FP8) have no NumPy type: inputs and outputs of our graphs are float32.
_NUMPY_TYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT32": np.int32,
    "INT64": np.int64,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
}


class CaptureError(RunError):
    """The engine runs, and its run cannot be captured as a CUDA graph."""


@dataclass(frozen=True)
class _Binding:
    """A tensor of the engine: its pinned host array and its device address."""

    name: str
    host: Array
    device: int


class DeviceLoop:
    """Calls an engine with the same inputs. A context manager; what it made on the GPU is freed at exit.

    Args:
        engine: ICudaEngine of tensorrt or tensorrt_rtx.
        feed: input name -> array, contiguous, of the type that the engine takes.
        graph: capture the run as a CUDA graph and launch that. TensorRT-RTX captures by itself (its runtime
            configuration has ``cuda_graph_strategy``: it knows when its kernels, specialised to the shape in the
            background, are final); for TensorRT the stream is captured here, after one plain run.
        cuda: the loaded CUDA runtime.

    Raises RunError when an input is missing or of another type, a shape is outside the engine's profile or a call
    fails; CaptureError when the run cannot be captured.
    """

    def __init__(self, engine: Any, feed: Mapping[str, Array], *, graph: bool, cuda: Cuda) -> None:
        self.kernels_how = HELD
        self._engine = engine
        self._feed = feed
        self._graph = graph
        self._cuda = cuda
        self._cleanup = ExitStack()
        self._executable: int | None = None
        self.graph_how = "off"

    def __enter__(self) -> DeviceLoop:
        try:
            self._prepare()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._cleanup.close()
        except RunError:
            # After a failed kernel every later CUDA call fails too; the first error is the one to tell.
            if error is None:
                raise

    def __call__(self) -> float:
        """One call; returns the milliseconds of the computation alone."""
        cuda, stream = self._cuda, self._stream
        for binding in self._inputs:
            cuda.copy_to_device(binding.device, binding.host.ctypes.data, binding.host.nbytes, stream)
        cuda.record(self._start, stream)
        self._enqueue()
        cuda.record(self._end, stream)
        for binding in self._outputs:
            cuda.copy_to_host(binding.host.ctypes.data, binding.device, binding.host.nbytes, stream)
        cuda.synchronize(stream)
        return cuda.elapsed_ms(self._start, self._end)

    @property
    def context(self) -> Any:
        """The execution context, on which a profiler is set."""
        return self._context

    def outputs(self) -> dict[str, Array]:
        """Copies of the last call's outputs."""
        return {binding.name: binding.host.copy() for binding in self._outputs}

    def _prepare(self) -> None:
        cuda = self._cuda
        self._stream = self._owned(cuda.create_stream(), cuda.destroy_stream)
        self._start = self._owned(cuda.create_event(), cuda.destroy_event)
        self._end = self._owned(cuda.create_event(), cuda.destroy_event)
        self._context, builtin_graph = self._make_context()
        names: dict[str, list[str]] = {"INPUT": [], "OUTPUT": []}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            names[self._engine.get_tensor_mode(name).name].append(name)
        if set(names["INPUT"]) != set(self._feed):
            raise RunError(f"engine: expected inputs {sorted(names['INPUT'])}, got {sorted(self._feed)}")
        self._inputs = [self._bind(name, self._input(name)) for name in names["INPUT"]]
        self._outputs = [self._bind(name, self._output(name)) for name in names["OUTPUT"]]
        if not self._outputs:
            raise RunError("engine: it has no output, so nothing shows that it ran")
        if builtin_graph:
            self.graph_how = "captured by the runtime (TensorRT-RTX)"
        elif self._graph:
            self._capture()
            self.graph_how = "stream captured"

    def _owned(self, handle: int, release: Any) -> int:
        self._cleanup.callback(release, handle)
        return handle

    def _make_context(self) -> tuple[Any, bool]:
        """An execution context, and whether it captures CUDA graphs by itself."""
        config, builtin = None, False
        if hasattr(self._engine, "create_runtime_config"):
            config = self._engine.create_runtime_config()
            self.kernels_how = specialise(config)
            if self._graph and hasattr(config, "cuda_graph_strategy"):
                config.cuda_graph_strategy = type(config.cuda_graph_strategy).WHOLE_GRAPH_CAPTURE
                builtin = True
        if self.kernels_how == SPECIALISED or builtin:
            context = self._engine.create_execution_context(config)
        else:
            context = self._engine.create_execution_context()
        if context is None:
            raise RunError("engine: no execution context; there may be too little memory left on the GPU")
        return context, builtin

    def _dtype(self, name: str) -> npt.DTypeLike:
        kind = self._engine.get_tensor_dtype(name).name
        if kind not in _NUMPY_TYPES:
            raise RunError(f"engine: {name} is {kind}; expected one of {', '.join(_NUMPY_TYPES)}")
        return _NUMPY_TYPES[kind]

    def _input(self, name: str) -> Array:
        dtype = np.dtype(self._dtype(name))
        if self._feed[name].dtype != dtype:
            raise RunError(f"engine: input {name}: expected {dtype}, got {self._feed[name].dtype}")
        array = np.array(self._feed[name], order="C")
        if not self._context.set_input_shape(name, array.shape):
            raise RunError(f"engine: input {name}: shape {array.shape} is outside the engine's profile")
        return array

    def _output(self, name: str) -> Array:
        shape = tuple(self._context.get_tensor_shape(name))
        if min(shape, default=1) < 0:
            raise RunError(f"engine: output {name}: shape {shape} depends on the data; expected a fixed one")
        return np.empty(shape, dtype=self._dtype(name))

    def _bind(self, name: str, array: Array) -> _Binding:
        cuda = self._cuda
        pinned = self._owned(cuda.allocate_pinned(array.nbytes), cuda.free_pinned)
        bytes_here = memoryview((ctypes.c_char * array.nbytes).from_address(pinned)).cast("B")
        host: Array = np.frombuffer(bytes_here, dtype=array.dtype).reshape(array.shape)
        host[...] = array
        device = self._owned(cuda.allocate(host.nbytes), cuda.free)
        if not self._context.set_tensor_address(name, device):
            raise RunError(f"engine: {name}: the context refused its device address")
        return _Binding(name, host, device)

    def _enqueue(self) -> None:
        if self._executable is not None:
            self._cuda.launch(self._executable, self._stream)
        elif not self._context.execute_async_v3(self._stream):
            raise RunError("engine: the run could not be enqueued; the runtime's own log says why")

    def _capture(self) -> None:
        # The first run after a change of shape does work that must not be captured (TensorRT Developer Guide, "CUDA
        # Graphs": call enqueueV3 once before capturing).
        self()
        try:
            executable = self._captured()
        except RunError as error:
            raise CaptureError(error.message) from error
        self._executable = self._owned(executable, self._cuda.destroy_graph)

    def _captured(self) -> int:
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue()
        except RunError:
            self._cuda.abandon_capture(self._stream)
            raise
        return self._cuda.end_capture(self._stream)
