"""Try one library in a process of its own: ``python probes.py NAME`` prints one JSON object, the last line of stdout.

Being installed is not working: TensorRT's import may abort, ONNX Runtime lists providers that cannot load, a driver
may hang. This file is run by its path and imports nothing of ours, so that it works however the package was found;
``run_probes`` in ``examine`` starts it.
"""

import contextlib
import ctypes
import importlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

# y = Identity(x), x and y float[1], opset 13, IR version 8. Bytes, since the onnx package may not be here;
# tests/unit/doctor reads them back with it.
IDENTITY_MODEL = bytes.fromhex(
    "080812003a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a02080162"
    "0f0a0179120a0a08080112040a02080142040a00100d"
)

# CUdevice_attribute of cuda.h.
_COMPUTE_CAPABILITY_MAJOR = 75
_COMPUTE_CAPABILITY_MINOR = 76
_NAME_BYTES = 256


def probe_module(name: str) -> dict[str, Any]:
    """Version of a module that imports."""
    return {"version": str(importlib.import_module(name).__version__)}


def probe_av() -> dict[str, Any]:
    """PyAV, and the ffmpeg libraries that it carries."""
    av = importlib.import_module("av")
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return {"version": av.__version__, "libraries": libraries}


def probe_onnxruntime() -> dict[str, Any]:
    """ONNX Runtime, the providers that it lists, and why each of them does not load (empty: it does)."""
    runtime = importlib.import_module("onnxruntime")
    providers = {name: _provider_problem(runtime, name) for name in runtime.get_available_providers()}
    return {"version": runtime.__version__, "providers": providers}


def _provider_problem(runtime: Any, provider: str) -> str:
    options = runtime.SessionOptions()
    if provider != "CPUExecutionProvider":
        # Else a provider that cannot load is silently replaced by the CPU.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    with _captured_stderr() as log:
        try:
            session = runtime.InferenceSession(IDENTITY_MODEL, options, providers=[provider])
            loaded = session.get_providers()[:1] == [provider]
            error = "" if loaded else f"the session took {session.get_providers()} instead"
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
    # The native log names the missing library; the exception only says that the CPU was not allowed instead.
    missing = re.search(r"with error: (.+)", log[0])
    return (missing[1] if missing else error).strip().splitlines()[0] if error else ""


@contextlib.contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """What native code writes to file descriptor 2, as one string, once the block has ended."""
    log: list[str] = []
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield log
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            log.append(file.read().decode(errors="replace"))


def probe_driver() -> dict[str, Any]:
    """CUDA version of the driver, and its GPUs. CUDA Driver API; raises OSError without one."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        raise OSError(f"no NVIDIA driver ({library} cannot be loaded)") from error
    _check(cuda, "cuInit", ctypes.c_uint(0))
    version, count = ctypes.c_int(), ctypes.c_int()
    _check(cuda, "cuDriverGetVersion", ctypes.byref(version))
    _check(cuda, "cuDeviceGetCount", ctypes.byref(count))
    return {
        "cuda_version": f"{version.value // 1000}.{version.value % 1000 // 10}",
        "gpus": [_gpu(cuda, index) for index in range(count.value)],
    }


def _gpu(cuda: Any, index: int) -> dict[str, Any]:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    memory, name = ctypes.c_size_t(), ctypes.create_string_buffer(_NAME_BYTES)
    _check(cuda, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(index))
    _check(cuda, "cuDeviceGetName", name, ctypes.c_int(_NAME_BYTES), device)
    _check(cuda, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    for value, attribute in ((major, _COMPUTE_CAPABILITY_MAJOR), (minor, _COMPUTE_CAPABILITY_MINOR)):
        _check(cuda, "cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), device)
    return {
        "name": name.value.decode(),
        "compute_capability": f"{major.value}.{minor.value}",
        "memory_bytes": memory.value,
    }


def _check(cuda: Any, function: str, *arguments: Any) -> None:
    status = getattr(cuda, function)(*arguments)
    if status != 0:
        raise OSError(f"{function} returned status {status}")


PROBES: dict[str, Callable[[], dict[str, Any]]] = {
    "driver": probe_driver,
    "onnxruntime": probe_onnxruntime,
    "tensorrt": lambda: probe_module("tensorrt"),
    "tensorrt_rtx": lambda: probe_module("tensorrt_rtx"),
    "av": probe_av,
}


def main(name: str) -> None:
    try:
        answer = {"problem": "", **PROBES[name]()}
    except Exception as error:
        answer = {"problem": f"{type(error).__name__}: {error}" if not isinstance(error, OSError) else str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    # The folder of this file comes first on the path and holds modules of ours, which must not hide anybody's.
    sys.path.pop(0)
    main(sys.argv[1])
