"""What this machine has: builders and a GPU. Asked without importing either compiler."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

# cuda.h: CUdevice_attribute.
_CAPABILITY_MAJOR = 75
_CAPABILITY_MINOR = 76
_CUDA_SUCCESS = 0


@dataclass(frozen=True)
class Machine:
    """``gpu_capability``: compute capability of the first GPU (86 is 8.6); None without a usable driver and GPU."""

    gpu_capability: int | None
    rtx_installed: bool
    tensorrt_installed: bool


def machine_here() -> Machine:
    return Machine(gpu_capability(), _installed("tensorrt_rtx"), _installed("tensorrt"))


def gpu_capability() -> int | None:
    """Compute capability of GPU 0 by the driver itself (libcuda), which is on every machine that can run an engine."""
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    calls: tuple[Callable[[], int], ...] = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDeviceGet(ctypes.byref(device), 0),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device),
    )
    if any(call() != _CUDA_SUCCESS for call in calls):
        return None
    return 10 * major.value + minor.value


def _installed(module: str) -> bool:
    return find_spec(module) is not None
