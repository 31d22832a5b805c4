"""The few calls of CUDA's driver that load and start a compiled kernel, through ctypes: no package is needed for them.

The caller's context is current (TensorRT's, while it runs a plugin). Written after the CUDA Driver API reference, where
each call is named as here. ``tests/rig`` runs it over a driver that checks every argument; a GPU has not run it.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

# cuda.h: CUfunction_attribute, CUdevice_attribute, CUresult.
_MAX_DYNAMIC_SHARED_BYTES = 8
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_NOT_INITIALIZED, _INVALID_CONTEXT = 3, 201
# cuda.h: what the last argument of cuLaunchKernel is made of.
_BUFFER_POINTER, _BUFFER_SIZE, _END = 1, 2, 0
# What a block may have without being asked for (CUDA C++ Programming Guide, "Shared Memory").
USUAL_SHARED_BYTES = 48 * 1024
# Kernels are compiled for tensors that begin at multiples of this.
ALIGNMENT = 16


class CudaError(Exception):
    """A call of the driver failed; the message names the call and the driver's own word for the error."""


@cache
def driver() -> Driver:
    """The machine's own, loaded once."""
    return Driver()


class Driver:
    """``library``: libcuda; looked for where none is given. Raises CudaError where there is none."""

    def __init__(self, library: Any = None) -> None:
        if library is None:
            try:
                library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
            except OSError as error:
                raise CudaError(f"no NVIDIA driver on this machine: {error}") from error
        self._library = library
        self._loaded: weakref.WeakValueDictionary[tuple[int, bytes, str], LoadedKernel] = weakref.WeakValueDictionary()

    def capability(self) -> int:
        """Compute capability of the current context's GPU, of the first GPU where no context is current: 87 is 8.7."""
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        status = self._library.cuCtxGetDevice(ctypes.byref(device))
        if status in (_NOT_INITIALIZED, _INVALID_CONTEXT):
            self.call("cuInit", 0)
            self.call("cuDeviceGet", ctypes.byref(device), 0)
        else:
            self._check("cuCtxGetDevice", status)
        self.call("cuDeviceGetAttribute", ctypes.byref(major), _CAPABILITY_MAJOR, device)
        self.call("cuDeviceGetAttribute", ctypes.byref(minor), _CAPABILITY_MINOR, device)
        return 10 * major.value + minor.value

    def cuda_version(self) -> tuple[int, int]:
        """The newest CUDA that the driver runs: (13, 0)."""
        version = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(version))
        return version.value // 1000, version.value % 1000 // 10

    def newest_ptx(self) -> int:
        """The newest version of PTX that the driver takes, as in 90 for 9.0 (PTX ISA, "Release Notes")."""
        major, minor = self.cuda_version()
        if major == 12:
            # CUDA 12.6 brought no new one.
            return 80 + (minor if minor < 6 else minor - 1)
        return (70 if major < 12 else 10 * (major - 4)) + minor

    def kernel(self, cubin: bytes, name: str, shared_bytes: int) -> LoadedKernel:
        """The kernel ``name`` of ``cubin`` in the current context; one that somebody holds is not loaded again."""
        context = ctypes.c_void_p()
        self.call("cuCtxGetCurrent", ctypes.byref(context))
        key = (context.value or 0, cubin, name)
        loaded = self._loaded.get(key)
        if loaded is None:
            loaded = self._loaded[key] = self._load(context, cubin, name, shared_bytes)
        return loaded

    def _load(self, context: ctypes.c_void_p, cubin: bytes, name: str, shared_bytes: int) -> LoadedKernel:
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), cubin)
        loaded = LoadedKernel(function)
        weakref.finalize(loaded, self._unload, context, module).atexit = False
        self.call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        if shared_bytes > USUAL_SHARED_BYTES:
            self.call("cuFuncSetAttribute", function, _MAX_DYNAMIC_SHARED_BYTES, shared_bytes)
        return loaded

    def _unload(self, context: ctypes.c_void_p, module: ctypes.c_void_p) -> None:
        """Nobody holds the kernel any more. Its context may be gone, and its modules with it."""
        if self._library.cuCtxPushCurrent_v2(context) == 0:
            self._library.cuModuleUnload(module)
            self._library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))

    def prepare(
        self, kernel: LoadedKernel, grid: Sequence[int], threads: int, shared_bytes: int, scalars: Sequence[int],
        inputs: int,
    ) -> PreparedLaunch:  # fmt: skip
        """A launch of which only the addresses and the stream are not known yet."""
        return PreparedLaunch(self, kernel, grid, threads, shared_bytes, scalars, inputs)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the driver. Raises CudaError where it returns another status than success."""
        self._check(name, getattr(self._library, name)(*arguments))

    def _check(self, name: str, result: int) -> None:
        if result:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(result, ctypes.byref(text))
            raise CudaError(f"{name}: {(text.value or b'').decode() or result}")


class LoadedKernel:
    """A kernel in the driver's memory, for as long as somebody holds this."""

    def __init__(self, function: ctypes.c_void_p) -> None:
        self.function = function


class PreparedLaunch:
    """One launch, its sizes filled in: starting it writes the addresses and makes one call.

    The kernel's parameters lie in one buffer as in C (addresses of inputs, 32-bit integers, address of the output),
    which the driver copies when it is called.
    """

    def __init__(
        self, driver: Driver, kernel: LoadedKernel, grid: Sequence[int], threads: int, shared_bytes: int,
        scalars: Sequence[int], inputs: int,
    ) -> None:  # fmt: skip
        class Parameters(ctypes.Structure):
            _fields_ = [
                ("inputs", ctypes.c_uint64 * inputs),
                ("scalars", ctypes.c_int32 * len(scalars)),
                ("out", ctypes.c_uint64),
            ]

        self._parameters: Any = Parameters(scalars=(ctypes.c_int32 * len(scalars))(*scalars))
        self._inputs = self._parameters.inputs
        self._size = ctypes.c_size_t(ctypes.sizeof(Parameters))
        self._extra = (ctypes.c_void_p * 5)(
            _BUFFER_POINTER, ctypes.addressof(self._parameters), _BUFFER_SIZE, ctypes.addressof(self._size), _END
        )
        self._stream = ctypes.c_void_p()
        # Held, so that the kernel stays loaded.
        self._kernel = kernel
        self._driver = driver
        self._launch = driver._library.cuLaunchKernel
        self._arguments = (
            kernel.function, *map(ctypes.c_uint, (*grid, threads, 1, 1, shared_bytes)), self._stream, None, self._extra,
        )  # fmt: skip

    def start(self, inputs: Sequence[int], out: int, stream: int) -> None:
        """Put the launch on ``stream``. Raises CudaError, also for an address that the kernel cannot take."""
        together = out
        for address in inputs:
            together |= address
        if together % ALIGNMENT:
            raise CudaError(
                f"expected tensors at multiples of {ALIGNMENT} bytes, got addresses "
                f"{', '.join(hex(address) for address in (*inputs, out))}"
            )
        self._inputs[:] = inputs
        self._parameters.out = out
        self._stream.value = stream
        result = self._launch(*self._arguments)
        if result:
            self._driver._check("cuLaunchKernel", result)
