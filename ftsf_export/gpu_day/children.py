"""Steps that need neither PyTorch nor a compiler of graphs: handlers of ``process.child``.

A handler tells rows, JSON objects, as it finds them; a row that has to hold something says whether it does: ``right``.
"""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ftsf_export.engine.cards import card_of_gpu
from ftsf_export.errors import EnvironmentLacks, RunError
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell
from ftsf_export.runners.driver import first_gpu
from ftsf_plugins.cuda import CudaError
from ftsf_plugins.deploy import Unsupported, target_here
from ftsf_plugins.device import Device
from ftsf_plugins.trial import Wanted, kernels_from, trials_of

# What figures depend on.
_PACKAGES = ("torch", "triton", "numpy", "tensorrt", "tensorrt-rtx-cu13", "onnx", "onnxruntime-gpu", "onnxruntime",
             "polygraphy", "nvidia-ml-py")  # fmt: skip
# Of what the toolkit itself needs, what the doctor looks with.
_DOCTORS = ("cattrs", "packaging")


def machine(_request: Message, tell: Tell) -> Message:
    """Tells the GPU, its data sheet, and the versions of what is installed."""
    gpu = first_gpu()
    card = None if gpu is None else card_of_gpu(gpu.name)
    tell(
        {
            "gpu": None if gpu is None else asdict(gpu),
            "card": None if card is None else {**asdict(card), "flops_per_s": dict(card.flops_per_s)},
            "python": platform.python_version(),
            "system": platform.platform(),
            "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        }
    )
    return Message()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def require(*modules: str, extra: str = "") -> None:
    """Raises EnvironmentLacks naming each module that is not installed, and the ``extra`` that brings it."""
    if missing := [name for name in modules if find_spec(name) is None]:
        raise EnvironmentLacks(f"not installed: {', '.join(missing)}", extra=extra)


def doctor(_request: Message, tell: Tell) -> Message:
    """Tells what ``ftsf doctor --json`` says."""
    require(*_DOCTORS)
    from ftsf_export.doctor.examine import examine

    tell(examine().as_dict())
    return Message()


def kernels(request: Message, tell: Tell) -> Message:
    """Tells a ``Trial`` a row. ``request``: the fields of ``Wanted`` and ``kernels``, a folder or null."""
    folder = request.value["kernels"]
    if folder is None:
        require("triton", extra="plugins")
    try:
        device = Device()
        target_here()
    except (CudaError, Unsupported) as error:
        raise EnvironmentLacks(str(error)) from error
    wanted: dict[str, Any] = {key: value for key, value in request.value.items() if key != "kernels"}
    problems = []
    for trial in trials_of(device, Wanted(**wanted), kernels_from(folder and Path(folder))):
        tell(trial.as_dict())
        problems += [trial.problem] if trial.problem else []
    if problems:
        raise RunError(f"{len(problems)} kernels could not be run: {problems[0]}")
    return Message()
