"""The first GPU with its memory and a clock, by the driver alone: what it takes to run a kernel where there is neither
TensorRT nor a CUDA toolkit. Written after the CUDA Driver API reference; ``tests/rig`` runs it, a GPU has not."""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Callable
from ctypes import byref, c_float, c_int, c_size_t, c_uint, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftsf_plugins.cuda import CudaError, Driver, driver

# cuda.h: CUdevice_attribute.
_L2_CACHE_BYTES = 38
_NAME_BYTES = 256
_WARM_UPS = 3
# The default stream.
_STREAM = c_void_p()


class Device:
    """Its primary context is current from here on, as while TensorRT runs a plugin. What is allocated stays until the
    process ends. Raises CudaError where there is no driver or no GPU."""

    def __init__(self, gpu: Driver | None = None) -> None:
        self._driver = gpu or driver()
        self._device, context = c_int(), c_void_p()
        self.call("cuInit", 0)
        count = c_int()
        self.call("cuDeviceGetCount", byref(count))
        if not count.value:
            raise CudaError("the NVIDIA driver finds no GPU")
        self.call("cuDeviceGet", byref(self._device), 0)
        self.call("cuDevicePrimaryCtxRetain", byref(context), self._device)
        self.call("cuCtxSetCurrent", context)

    def call(self, name: str, *arguments: Any) -> None:
        """A function of the driver. Raises CudaError."""
        self._driver.call(name, *arguments)

    @property
    def name(self) -> str:
        """The product's."""
        text = ctypes.create_string_buffer(_NAME_BYTES)
        self.call("cuDeviceGetName", text, _NAME_BYTES, self._device)
        return text.value.decode()

    def allocate(self, size: int) -> int:
        """The address of so many bytes."""
        address = c_void_p()
        self.call("cuMemAlloc_v2", byref(address), c_size_t(size))
        return address.value or 0

    def put(self, array: NDArray[Any]) -> int:
        """The address of a copy."""
        array = np.ascontiguousarray(array)
        address = self.allocate(array.nbytes)
        self.call("cuMemcpyHtoD_v2", c_void_p(address), c_void_p(array.ctypes.data), c_size_t(array.nbytes))
        return address

    def get(self, address: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """A copy of what lies at an address, when all work is done."""
        array = np.empty(shape, dtype)
        self.wait()
        self.call("cuMemcpyDtoH_v2", c_void_p(array.ctypes.data), c_void_p(address), c_size_t(array.nbytes))
        return array

    def wait(self) -> None:
        """Until all work is done. Raises CudaError where some of it failed."""
        self.call("cuCtxSynchronize")

    def median_ms(self, start: Callable[[], None], repeats: int) -> float:
        """Milliseconds of what ``start`` puts on the default stream, by the GPU's own clock: the median of so many
        runs, before each of which twice the L2 cache is overwritten, so that all comes out of memory."""
        cache = c_int()
        self.call("cuDeviceGetAttribute", byref(cache), _L2_CACHE_BYTES, self._device)
        flushed = self.allocate(size := 2 * max(cache.value, 1 << 20))
        events = [(self._event(), self._event()) for _ in range(repeats)]
        for _ in range(min(_WARM_UPS, repeats)):
            start()
        for before, after in events:
            self.call("cuMemsetD8Async", c_void_p(flushed), 0, c_size_t(size), _STREAM)
            self.call("cuEventRecord", before, _STREAM)
            start()
            self.call("cuEventRecord", after, _STREAM)
        self.wait()
        return statistics.median(self._elapsed_ms(*pair) for pair in events)

    def _event(self) -> c_void_p:
        event = c_void_p()
        self.call("cuEventCreate", byref(event), c_uint(0))
        return event

    def _elapsed_ms(self, before: c_void_p, after: c_void_p) -> float:
        elapsed = c_float()
        self.call("cuEventElapsedTime", byref(elapsed), before, after)
        for event in (before, after):
            self.call("cuEventDestroy_v2", event)
        return elapsed.value
