"""Makes the operations known to a TensorRT, in the way that its version has. Imports TensorRT when called."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ftsf_plugins import deploy, plugin_v3
from ftsf_plugins.additive_attention import plugin as additive
from ftsf_plugins.favor_attention import plugin as favor
from ftsf_plugins.kernels import compiled_kernel, prebuilt_kernel
from ftsf_plugins.operation import Operation

OPERATIONS: dict[str, Operation] = {one.OPERATION.name: one.OPERATION for one in (additive, favor)}


def quick_plugins(trt: Any) -> bool:
    """Whether this TensorRT has quickly deployable plugins with ahead-of-time kernels: then engines need no Python."""
    try:
        return hasattr(import_module(f"{trt.__name__}.plugin"), "aot_impl")
    except ModuleNotFoundError:
        return False


def register(trt: Any, names: Sequence[str], prebuilt: Path | None = None) -> str:
    """Register the operations ``names`` before a network is parsed. Returns the way: "aot", or "v3" of TensorRT 10.3.

    ``prebuilt``: a folder of ``scripts/build-plugins`` that "v3" takes machine code from; "aot" takes none but what
    Triton compiles here. Raises KeyError for a name that is none, ModuleNotFoundError where Triton is missing.
    """
    if quick_plugins(trt):
        import_module("triton")
        for name in names:
            deploy.register(OPERATIONS[name])
        return "aot"
    kernels = compiled_kernel
    if prebuilt is not None:
        kernels = partial(prebuilt_kernel, prebuilt)
    else:
        import_module("triton")
    _keep.extend(plugin_v3.register(trt, [OPERATIONS[name] for name in names], kernels=kernels))
    return "v3"


def register_for_runtime(trt: Any) -> None:
    """What an engine of this TensorRT may ask for when it is loaded; nothing where engines hold their kernels, nor
    where a TensorRT has no plugins of Python at all."""
    if hasattr(trt, "IPluginV3OneRuntime") and not quick_plugins(trt) and not _keep:
        _keep.extend(plugin_v3.register(trt, list(OPERATIONS.values())))


# TensorRT's registry holds no reference of Python's.
_keep: list[Any] = []
