"""Ask one library, in a process of its own, whether it works: being installed is not.

TensorRT's import may abort, ONNX Runtime lists providers that cannot load, a driver may hang. ``run_probe`` in
``examine`` calls these.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell
from ftsf_export.runners.driver import gpus
from ftsf_export.runners.telemetry import import_onnxruntime

# y = Identity(x), x and y float[1], opset 13, IR version 8. Bytes, since the onnx package may not be here;
# tests/unit/doctor reads them back with it.
IDENTITY_MODEL = bytes.fromhex(
    "080812003a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a02080162"
    "0f0a0179120a0a08080112040a02080142040a00100d"
)


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
    runtime = import_onnxruntime()
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
    """Versions of the driver, and its GPUs."""
    found = gpus()
    return {
        "cuda_version": found[0].cuda_version if found else "",
        "driver_version": found[0].driver_version if found else "",
        "gpus": [
            {"name": gpu.name, "compute_capability": gpu.capability, "memory_bytes": gpu.memory_bytes} for gpu in found
        ],
    }


PROBES: dict[str, Callable[[], dict[str, Any]]] = {
    "driver": probe_driver,
    "onnxruntime": probe_onnxruntime,
    "tensorrt": lambda: probe_module("tensorrt"),
    "tensorrt_rtx": lambda: probe_module("tensorrt_rtx"),
    "av": probe_av,
}


def probe(request: Message, _tell: Tell) -> Message:
    """The child's side: the answer of the probe that the request names."""
    return Message(PROBES[request.value]())
