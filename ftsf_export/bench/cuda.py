"""The few calls of the CUDA runtime that timing an engine needs: streams, memory, events and captured graphs.

Every status is checked. The library is the one that Polygraphy's runner has loaded, so that streams, memory and the
TensorRT context belong to one CUDA context. Signatures: CUDA Runtime API, sections "Stream Management", "Event
Management", "Memory Management" and "Graph Management"; CUDA 11.4 and later export them all. Graphs are made with
``cudaGraphInstantiateWithFlags``: the signature of ``cudaGraphInstantiate`` changed between CUDA 11 and 12.
"""

from __future__ import annotations

import ctypes
from typing import Any

from ftsf_export.errors import EnvironmentLacks, RunError

_HOST_TO_DEVICE = 1
_DEVICE_TO_HOST = 2
# cudaStreamCaptureModeThreadLocal: what other threads of the process do meanwhile cannot spoil the capture.
_CAPTURE_THREAD_LOCAL = 1
_PCI_BUS_ID_BYTES = 32


class Cuda:
    """Checked calls on one loaded CUDA runtime library. Handles and device addresses are plain integers.

    Raises RunError that names the call, the status and CUDA's own words for it.
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    @classmethod
    def load(cls) -> Cuda:
        """The runtime library that Polygraphy finds. Raises EnvironmentLacks when there is none, or no GPU."""
        from polygraphy import cuda
        from polygraphy.exception import PolygraphyException

        try:
            library = cuda.wrapper().handle
        except (OSError, PolygraphyException) as error:
            raise EnvironmentLacks(
                "CUDA runtime library (libcudart) not found: expected it on LD_LIBRARY_PATH or in a Python package",
                install="pip install nvidia-cuda-runtime",
                details=str(error),
            ) from error
        return cls(library)

    def call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status != 0:
            raise RunError(f"CUDA: {function} returned status {status} ({self._words(status)})")

    def _words(self, status: int) -> str:
        describe = self._library.cudaGetErrorString
        describe.restype = ctypes.c_char_p
        words = describe(ctypes.c_int(status))
        return words.decode() if isinstance(words, bytes) else "unknown"

    def _create(self, function: str, *arguments: Any) -> int:
        handle = ctypes.c_void_p()
        self.call(function, ctypes.byref(handle), *arguments)
        return handle.value or 0

    def pci_bus_id(self) -> str:
        """PCI address of the current device, for example ``0000:3B:00.0``."""
        device = ctypes.c_int()
        self.call("cudaGetDevice", ctypes.byref(device))
        text = ctypes.create_string_buffer(_PCI_BUS_ID_BYTES)
        self.call("cudaDeviceGetPCIBusId", text, ctypes.c_int(_PCI_BUS_ID_BYTES), device)
        return text.value.decode()

    def create_stream(self) -> int:
        return self._create("cudaStreamCreate")

    def synchronize(self, stream: int) -> None:
        self.call("cudaStreamSynchronize", ctypes.c_void_p(stream))

    def destroy_stream(self, stream: int) -> None:
        self.call("cudaStreamDestroy", ctypes.c_void_p(stream))

    def allocate(self, nbytes: int) -> int:
        return self._create("cudaMalloc", ctypes.c_size_t(nbytes))

    def free(self, address: int) -> None:
        self.call("cudaFree", ctypes.c_void_p(address))

    def pin(self, address: int, nbytes: int) -> None:
        """Page-lock host memory: copies from and to it then run by DMA and beside the host."""
        self.call("cudaHostRegister", ctypes.c_void_p(address), ctypes.c_size_t(nbytes), ctypes.c_uint(0))

    def unpin(self, address: int) -> None:
        self.call("cudaHostUnregister", ctypes.c_void_p(address))

    def copy_to_device(self, device: int, host: int, nbytes: int, stream: int) -> None:
        self._copy(device, host, nbytes, _HOST_TO_DEVICE, stream)

    def copy_to_host(self, host: int, device: int, nbytes: int, stream: int) -> None:
        self._copy(host, device, nbytes, _DEVICE_TO_HOST, stream)

    def _copy(self, target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        self.call(
            "cudaMemcpyAsync",
            ctypes.c_void_p(target),
            ctypes.c_void_p(source),
            ctypes.c_size_t(nbytes),
            ctypes.c_int(kind),
            ctypes.c_void_p(stream),
        )

    def create_event(self) -> int:
        return self._create("cudaEventCreate")

    def record(self, event: int, stream: int) -> None:
        self.call("cudaEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))

    def elapsed_ms(self, start: int, end: int) -> float:
        """Milliseconds between two recorded events that have both passed; resolution about 0.5 microseconds."""
        elapsed = ctypes.c_float()
        self.call("cudaEventElapsedTime", ctypes.byref(elapsed), ctypes.c_void_p(start), ctypes.c_void_p(end))
        return elapsed.value

    def destroy_event(self, event: int) -> None:
        self.call("cudaEventDestroy", ctypes.c_void_p(event))

    def begin_capture(self, stream: int) -> None:
        self.call("cudaStreamBeginCapture", ctypes.c_void_p(stream), ctypes.c_int(_CAPTURE_THREAD_LOCAL))

    def abandon_capture(self, stream: int) -> None:
        """End a capture that has failed already; its status says so once more and is not looked at."""
        graph = ctypes.c_void_p()
        if self._library.cudaStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph)) == 0:
            self.call("cudaGraphDestroy", graph)

    def end_capture(self, stream: int) -> int:
        """The captured graph, made executable. Raises RunError when the work could not be captured."""
        graph = ctypes.c_void_p()
        self.call("cudaStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        try:
            return self._create("cudaGraphInstantiateWithFlags", graph, ctypes.c_ulonglong(0))
        finally:
            self.call("cudaGraphDestroy", graph)

    def launch(self, executable: int, stream: int) -> None:
        self.call("cudaGraphLaunch", ctypes.c_void_p(executable), ctypes.c_void_p(stream))

    def destroy_graph(self, executable: int) -> None:
        self.call("cudaGraphExecDestroy", ctypes.c_void_p(executable))
