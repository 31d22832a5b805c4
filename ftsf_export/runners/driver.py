"""The one door to the NVIDIA driver: which GPUs are there, and what they are.

The driver API is enough (CUDA Driver API, sections 6.2, 6.3 and 6.5; for the driver's version NVML, which comes with
it): it needs no CUDA toolkit, and it fails by a status where TensorRT would abort the process.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

from ftsf_export.errors import EnvironmentLacks

_CUDA, _NVML = ("nvcuda.dll", "nvml.dll") if sys.platform == "win32" else ("libcuda.so.1", "libnvidia-ml.so.1")
# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h.
_MAJOR, _MINOR = 75, 76
_TEXT_BYTES = 256


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU of this machine."""

    name: str  #: The product's, as in "NVIDIA L4".
    capability: str  #: Its compute capability, as in "8.9"; everywhere in this house it is written so.
    memory_bytes: int  #: All of its memory.
    driver_version: str  #: Of the driver, as in "580.65.06"; empty where NVML does not tell it.
    cuda_version: str  #: The newest CUDA that the driver runs, as in "13.0".


def gpus() -> tuple[Gpu, ...]:
    """Every GPU that CUDA lists, in its order. Raises EnvironmentLacks without a driver, or when a call of it fails."""
    try:
        cuda = ctypes.CDLL(_CUDA)
    except OSError as error:
        raise EnvironmentLacks(f"no NVIDIA driver on this machine ({_CUDA} cannot be loaded)") from error
    _call(cuda, "cuInit", ctypes.c_uint(0))
    version, count = ctypes.c_int(), ctypes.c_int()
    _call(cuda, "cuDriverGetVersion", ctypes.byref(version))
    _call(cuda, "cuDeviceGetCount", ctypes.byref(count))
    cuda_version = f"{version.value // 1000}.{version.value % 1000 // 10}"
    driver_version = _driver_version() if count.value else ""
    return tuple(_gpu(cuda, index, driver_version, cuda_version) for index in range(count.value))


def gpu_problem() -> str:
    """Why no GPU can be used, in one sentence; empty when the driver answers and has a device."""
    try:
        return "" if gpus() else "the NVIDIA driver finds no GPU"
    except EnvironmentLacks as error:
        return error.message


def first_gpu() -> Gpu | None:
    """The GPU that engines run on; None where there is none (``gpu_problem`` says why)."""
    return None if gpu_problem() else gpus()[0]


def require_gpu(purpose: str) -> Gpu:
    """The first GPU. Raises EnvironmentLacks saying what ``purpose`` ("to run an engine") lacks."""
    if problem := gpu_problem():
        raise EnvironmentLacks(
            f"a GPU is needed {purpose}: {problem}; run this on a machine with an NVIDIA GPU and driver"
        )
    return gpus()[0]


def _gpu(cuda: Any, index: int, driver_version: str, cuda_version: str) -> Gpu:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    memory, name = ctypes.c_size_t(), ctypes.create_string_buffer(_TEXT_BYTES)
    _call(cuda, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(index))
    _call(cuda, "cuDeviceGetName", name, ctypes.c_int(_TEXT_BYTES), device)
    _call(cuda, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    for value, attribute in ((major, _MAJOR), (minor, _MINOR)):
        _call(cuda, "cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), device)
    return Gpu(
        name=name.value.decode(),
        capability=f"{major.value}.{minor.value}",
        memory_bytes=memory.value,
        driver_version=driver_version,
        cuda_version=cuda_version,
    )


def _driver_version() -> str:
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    try:
        nvml = ctypes.CDLL(_NVML)
        _call(nvml, "nvmlInit_v2")
        try:
            _call(nvml, "nvmlSystemGetDriverVersion", text, ctypes.c_uint(_TEXT_BYTES))
        finally:
            _call(nvml, "nvmlShutdown")
    except (OSError, EnvironmentLacks):
        return ""
    return text.value.decode()


def _call(library: Any, function: str, *arguments: Any) -> None:
    status = getattr(library, function)(*arguments)
    if status != 0:
        raise EnvironmentLacks(f"the NVIDIA driver does not answer ({function} returned {status})")
