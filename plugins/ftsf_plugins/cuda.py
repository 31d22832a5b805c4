"""The few calls of CUDA's driver that start a compiled kernel, through ctypes: no package is needed for them.

The caller's context is current (TensorRT's, while it runs a plugin). Written after the CUDA Driver API reference, where
each call is named as here; run only with a driver that a GPU has.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

# cuda.h: CUfunction_attribute, CUdevice_attribute.
_MAX_DYNAMIC_SHARED_BYTES = 8
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
# What a block may have without being asked for.
_USUAL_SHARED_BYTES = 48 * 1024


class CudaError(Exception):
    """A call of the driver failed; the message names the call and the driver's own word for the error."""


class Driver:
    """``library``: libcuda; looked for where none is given. Raises CudaError where there is none."""

    def __init__(self, library: Any = None) -> None:
        if library is None:
            try:
                library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
            except OSError as error:
                raise CudaError(f"no NVIDIA driver on this machine: {error}") from error
        self._library = library

    def capability(self) -> int:
        """Compute capability of the current context's GPU: 87 is 8.7."""
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        self._call("cuCtxGetDevice", ctypes.byref(device))
        self._call("cuDeviceGetAttribute", ctypes.byref(major), _CAPABILITY_MAJOR, device)
        self._call("cuDeviceGetAttribute", ctypes.byref(minor), _CAPABILITY_MINOR, device)
        return 10 * major.value + minor.value

    def function(self, cubin: bytes, name: str, shared_bytes: int) -> ctypes.c_void_p:
        """The kernel ``name`` of ``cubin``, loaded for as long as the context lives."""
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), cubin)
        self._call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        if shared_bytes > _USUAL_SHARED_BYTES:
            self._call("cuFuncSetAttribute", function, _MAX_DYNAMIC_SHARED_BYTES, shared_bytes)
        return function

    def start(
        self,
        function: ctypes.c_void_p,
        grid: Sequence[int],
        threads: int,
        shared_bytes: int,
        stream: int,
        arguments: Sequence[ctypes.c_void_p | ctypes.c_int32],
    ) -> None:
        """Put one launch on ``stream``; ``arguments`` in the kernel's order, addresses and 32-bit integers."""
        pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        self._call(
            "cuLaunchKernel", function, *grid, threads, 1, 1, shared_bytes, ctypes.c_void_p(stream), pointers, None
        )

    def _call(self, name: str, *arguments: Any) -> None:
        result = getattr(self._library, name)(*arguments)
        if result:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(result, ctypes.byref(text))
            raise CudaError(f"{name}: {(text.value or b'').decode() or result}")
