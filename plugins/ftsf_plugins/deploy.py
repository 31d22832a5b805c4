"""Registration as quickly deployable plugins of TensorRT (10.7 or later), with kernels compiled ahead of time.

The engine holds a kernel's PTX and how to start it; neither Python nor Triton is there when it runs.
``ftsf_plugins.plugin_v3`` registers the operations with TensorRT 10.3.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any

import numpy as np

from ftsf_plugins.compile import PTX_VERSIONS, TARGETS, ptx_version
from ftsf_plugins.cuda import USUAL_SHARED_BYTES, driver
from ftsf_plugins.fields import reads_arrays, word
from ftsf_plugins.kernels import KernelSource, MachineCode, compiled_kernel
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
    """Compute capability of the GPU that the engine is built on. Raises Unsupported where no kernel is made for it, or
    none that its driver takes.

    The driver is enough: neither a compiler nor torch is asked.
    """
    target = driver().capability()
    if target not in TARGETS:
        raise Unsupported(f"no kernel is made for sm_{target}; there are {', '.join(f'sm_{t}' for t in TARGETS)}")
    if (version := PTX_VERSIONS[target]) > (newest := driver().newest_ptx()):
        cuda = ".".join(map(str, driver().cuda_version()))
        raise Unsupported(
            f"the kernels for sm_{target} are PTX {version / 10}; the driver runs CUDA {cuda} and takes PTX "
            f"{newest / 10} at most: install a newer driver"
        )
    return target


def register(
    operation: Operation, target: Callable[[], int] = target_here, kernels: KernelSource = compiled_kernel
) -> None:
    """Call it before a network with the plugin is parsed.

    ``target``: says which compute capability to take kernels for; ``kernels``: where they come from.

    Raises ModuleNotFoundError where TensorRT's Python package is missing, Unsupported where it does not go with NumPy.
    """
    import tensorrt as trt
    import tensorrt.plugin as trtp

    if not reads_arrays(trt):
        # NVIDIA's creator reads the attributes, and would take the first letter of a word for all of them.
        raise Unsupported(
            f"the Python package of TensorRT {trt.__version__} misreads attributes of plugins under NumPy "
            f"{np.__version__}; install another: pip install 'numpy<2'"
        )

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
        # TensorRT starts the kernel; whether it asks for shared memory first is not documented.
        launched = operation.launched_by(_attributes(node), element, asks=False)
        capability = target()
        made = kernels(launched.launch, element, launched.stream, capability)
        check_kernel(made, capability)
        return _kernel_and_launch(trtp, launched, made, node["qkv"].shape_expr[0])


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


def _attributes(node: Mapping[str, Any]) -> dict[str, Any]:
    """What the node has been given, its words as they were written."""
    return {name: word(value) if isinstance(value, str) else value for name, value in node.items()}


def check_kernel(made: MachineCode, target: int) -> None:
    """Raises Unsupported for a kernel that TensorRT would have to ask shared memory for, and for PTX that drivers of
    ``target`` need not take: an older folder of prebuilt kernels has such."""
    if made.shared_bytes > USUAL_SHARED_BYTES:
        raise Unsupported(f"{made.name}: {made.shared_bytes} bytes of shared memory, expected {USUAL_SHARED_BYTES}")
    if (version := ptx_version(made.ptx)) > PTX_VERSIONS[target]:
        raise Unsupported(
            f"{made.name}: PTX {version / 10}, expected {PTX_VERSIONS[target] / 10} for sm_{target}; "
            "make it again with scripts/build-plugins"
        )


def _kernel_and_launch(
    trtp: Any, launched: AttentionLaunch, made: MachineCode, batch: Any
) -> tuple[str, str, Any, Any]:
    """What ``aot_impl`` returns: the entry's name, its PTX, the launch parameters, the scalars between in- and outputs.

    ``batch`` is symbolic: an engine with a dynamic batch starts more programs, and only their number depends on it.
    """
    launch, stream = launched.launch, launched.stream
    parameters = trtp.KernelLaunchParams()
    sequences = batch * stream.groups
    programs = sequences if launch.groups == 1 else trtp.cdiv(sequences, launch.groups)
    parameters.grid_x = programs * launch.parts(stream)
    _, parameters.grid_y, parameters.grid_z = launch.grid(stream, 1)
    parameters.block_x = made.threads
    parameters.shared_mem = made.shared_bytes
    values = scalar_values(launch, stream, 1, launched.features)
    scalars = trtp.SymIntExprs(len(launch.scalars))
    for index, name in enumerate(launch.scalars):
        scalars[index] = trtp.SymInt32(sequences if name == "sequences" else values[name])
    return made.name, made.ptx, parameters, scalars
