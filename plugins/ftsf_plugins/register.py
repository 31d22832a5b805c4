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
from ftsf_plugins.rotary_attention import plugin as rotary

OPERATIONS: dict[str, Operation] = {one.OPERATION.name: one.OPERATION for one in (additive, favor, rotary)}


def quick_plugins(trt: Any) -> bool:
    """Whether this TensorRT has quickly deployable plugins with ahead-of-time kernels: then engines need no Python."""
    try:
        return hasattr(import_module(f"{trt.__name__}.plugin"), "aot_impl")
    except ModuleNotFoundError:
        return False


def register(trt: Any, names: Sequence[str], prebuilt: Path | None = None) -> str:
    """Register the operations ``names`` before a network is parsed. Returns the way: "aot", or "v3" of TensorRT 10.3.

    ``prebuilt``: a folder of ``scripts/build-plugins`` to take kernels from instead of compiling them with Triton.
    Raises KeyError for a name that is none, ModuleNotFoundError where Triton is needed and missing, Unsupported where
    no kernel is made for the GPU, and CudaError where its driver does not answer.
    """
    operations = [OPERATIONS[name] for name in names]
    if prebuilt is None:
        import_module("triton")
    target = deploy.target_here()
    kernels = compiled_kernel if prebuilt is None else partial(prebuilt_kernel, prebuilt)
    if quick_plugins(trt):
        for operation in operations:
            deploy.register(operation, target=lambda: target, kernels=kernels)
        return "aot"
    _keep.extend(plugin_v3.register(trt, operations, kernels=kernels))
    return "v3"


def register_for_runtime(trt: Any) -> None:
    """What an engine of this TensorRT may ask for when it is loaded; nothing where engines hold their kernels, nor
    where a TensorRT has no plugins of Python at all."""
    if hasattr(trt, "IPluginV3OneRuntime") and not quick_plugins(trt) and not _keep:
        _keep.extend(plugin_v3.register(trt, list(OPERATIONS.values())))


# TensorRT's registry holds no reference of Python's.
_keep: list[Any] = []
