"""The few calls of the CUDA runtime that timing an engine needs: streams, memory, events and captured graphs.

Every status is checked. The library is the one that Polygraphy's runner uses too
(``runners.cuda_runtime``). Signatures: CUDA Runtime API, sections "Stream Management", "Event
Management", "Memory Management" and "Graph Management"; CUDA 11.4 and later export them all. Graphs are made with
``cudaGraphInstantiateWithFlags``: the signature of ``cudaGraphInstantiate`` changed between CUDA 11 and 12.
"""

from __future__ import annotations

import ctypes
from typing import Any

from ftsf_export.errors import RunError
from ftsf_export.runners.cuda_runtime import cuda_runtime

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
        """The runtime library of this machine. Raises EnvironmentLacks when there is none that its driver runs."""
        return cls(cuda_runtime())

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

    def allocate_pinned(self, nbytes: int) -> int:
        """Page-locked host memory: copies from and to it run by DMA and beside the host.

        Pages of their own: memory that lies on one page with other memory cannot be locked twice (error 712).
        """
        return self._create("cudaHostAlloc", ctypes.c_size_t(nbytes), ctypes.c_uint(0))

    def free_pinned(self, address: int) -> None:
        self.call("cudaFreeHost", ctypes.c_void_p(address))

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
