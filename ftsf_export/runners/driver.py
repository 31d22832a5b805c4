"""Is there an NVIDIA GPU that answers? Asked of the driver itself, before anything that would crash without one."""

from __future__ import annotations

import ctypes
import sys

from ftsf_export.errors import EnvironmentLacks, RunError

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h.
_MAJOR, _MINOR = 75, 76


def gpu_problem() -> str:
    """Why no GPU can be used, in one sentence; empty when the driver answers and has a device.

    The driver API is enough (cuInit, cuDeviceGetCount; CUDA Driver API, sections 6.2 and 6.5): it needs no CUDA
    toolkit, and it fails by a status where TensorRT would abort the process.
    """
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return f"no NVIDIA driver on this machine ({_LIBRARY} cannot be loaded)"
    status = driver.cuInit(0)
    if status != 0:
        return f"the NVIDIA driver does not start (cuInit returned {status})"
    count = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0:
        return f"the NVIDIA driver does not list its GPUs (cuDeviceGetCount returned {status})"
    return "" if count.value > 0 else "the NVIDIA driver finds no GPU"


def compute_capability() -> str:
    """Of the first GPU, as in "8.6"; empty when there is none (``gpu_problem`` says why)."""
    if gpu_problem():
        return ""
    driver = ctypes.CDLL(_LIBRARY)
    device, value = ctypes.c_int(0), ctypes.c_int(0)
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        status = driver.cuDeviceGet(ctypes.byref(device), 0) or driver.cuDeviceGetAttribute(
            ctypes.byref(value), attribute, device
        )
        if status != 0:
            raise RunError(f"the NVIDIA driver does not tell its GPU's compute capability (status {status})")
        numbers.append(value.value)
    return ".".join(str(number) for number in numbers)


def require_gpu(purpose: str) -> None:
    """Raises EnvironmentLacks saying what ``purpose`` ("to run an engine") lacks."""
    if problem := gpu_problem():
        raise EnvironmentLacks(
            f"a GPU is needed {purpose}: {problem}; run this on a machine with an NVIDIA GPU and driver"
        )
