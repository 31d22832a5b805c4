"""Registration as quickly deployable plugins of TensorRT (10.7 or later), with kernels compiled ahead of time.

The engine holds a kernel's PTX and how to start it; neither Python nor Triton is there when it runs.
``ftsf_plugins.plugin_v3`` registers the operations with TensorRT 10.3.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any

from ftsf_plugins.compile import TARGETS, compiled
from ftsf_plugins.kernels import kernel_of
from ftsf_plugins.launch import ElementType, scalar_values
from ftsf_plugins.operation import AttentionLaunch, Operation

NAMESPACE = "ftsf"


class Unsupported(Exception):
    """The plugin has no kernel for what it was asked to do; the message says what it has."""


def types_of(trt: Any) -> dict[ElementType, Any]:
    """TensorRT's type of each element type."""
    return {"fp16": trt.DataType.HALF, "bf16": trt.DataType.BF16, "fp32": trt.DataType.FLOAT}


def element_of(dtype: Any, trt: Any, allowed: tuple[ElementType, ...]) -> ElementType:
    """Triton's name of one of TensorRT's types. Raises Unsupported naming the types that there are."""
    for element, kind in types_of(trt).items():
        if kind == dtype and element in allowed:
            return element
    raise Unsupported(f"expected tensors of {', '.join(allowed)}, got {dtype}")


def target_here() -> int:
    """Compute capability of the GPU that the engine is built on. Raises Unsupported where no kernel is made for it."""
    from triton.runtime import driver

    target = int(driver.active.get_current_target().arch)
    if target not in TARGETS:
        raise Unsupported(f"no kernel is made for sm_{target}; there are {', '.join(f'sm_{t}' for t in TARGETS)}")
    return target


def register(operation: Operation, target: Callable[[], int] = target_here) -> None:
    """Call it before a network with the plugin is parsed. ``target``: says which compute capability to compile for.

    Raises ModuleNotFoundError where TensorRT's Python package is missing.
    """
    import tensorrt as trt
    import tensorrt.plugin as trtp

    identity = f"{NAMESPACE}::{operation.name}"
    inputs = dict.fromkeys(operation.inputs, trtp.TensorDesc)
    outputs = {"outputs": tuple[trtp.TensorDesc]}

    @trtp.register(identity)
    @_signed({**inputs, **operation.attributes}, trtp.TensorDesc)
    def describe(node: Mapping[str, Any]) -> Any:
        out = node["qkv"].like()
        out.shape_expr[2] = node["heads"] * node["width"]
        return out

    @trtp.autotune(identity)
    @_signed({**inputs, **outputs}, list[trtp.AutoTuneCombination])
    def tune(_: Mapping[str, Any]) -> Any:
        streamed = "|".join(element.upper() for element in operation.elements)
        types = (streamed if name in operation.like_stream else "FP32" for name in operation.inputs)
        return [trtp.AutoTuneCombination(", ".join((*types, streamed)), "LINEAR")]

    @trtp.aot_impl(identity)
    @_signed(
        {**inputs, **operation.attributes, **outputs, "tactic": int},
        tuple[str | bytes, str | bytes, trtp.KernelLaunchParams, trtp.SymExprs],
    )
    def implement(node: Mapping[str, Any]) -> Any:
        element = element_of(node["qkv"].dtype, trt, operation.elements)
        launched = operation.launched(node, element)
        return _kernel_and_launch(trtp, launched, element, node["qkv"].shape_expr[0], target())


def _signed(kinds: Mapping[str, Any], returned: Any) -> Callable[[Callable[[Mapping[str, Any]], Any]], Any]:
    """Give a function of named values the arguments that TensorRT expects: it reads their names and annotations."""
    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation=kind) for name, kind in kinds.items()]
    signature = Signature(parameters, return_annotation=returned)

    def sign(function: Callable[[Mapping[str, Any]], Any]) -> Any:
        def signed(*values: Any, **named: Any) -> Any:
            return function(signature.bind(*values, **named).arguments)

        signed.__signature__ = signature  # type: ignore[attr-defined]
        return signed

    return sign


def _kernel_and_launch(
    trtp: Any, launched: AttentionLaunch, element: ElementType, batch: Any, target: int
) -> tuple[str, str, Any, Any]:
    """What ``aot_impl`` returns: the entry's name, its PTX, the launch parameters, the scalars between in- and outputs.

    ``batch`` is symbolic: an engine with a dynamic batch starts more programs, and only their number depends on it.
    """
    launch, stream = launched.launch, launched.stream
    made = compiled(kernel_of(launch), launch, element, stream, target)
    parameters = trtp.KernelLaunchParams()
    sequences = batch * stream.groups
    parameters.grid_x = sequences if launch.groups == 1 else trtp.cdiv(sequences, launch.groups)
    _, parameters.grid_y, parameters.grid_z = launch.grid(stream, 1)
    parameters.block_x = made.resources.threads
    parameters.shared_mem = made.resources.shared_bytes
    values = scalar_values(launch, stream, 1, launched.features)
    scalars = trtp.SymIntExprs(len(launch.scalars))
    for index, name in enumerate(launch.scalars):
        scalars[index] = trtp.SymInt32(sequences if name == "sequences" else values[name])
    return made.name, made.ptx, parameters, scalars
