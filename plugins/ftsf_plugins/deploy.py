"""What both plugins ask of TensorRT's quickly deployable plugins, ahead of time: PTX of a kernel and its launch.

The engine holds the PTX and how to start it; neither Python nor Triton is there when it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftsf_plugins.compile import TARGETS, compiled
from ftsf_plugins.launch import ElementType, scalar_values
from ftsf_plugins.operation import Work

NAMESPACE = "ftsf"


class Unsupported(Exception):
    """The plugin has no kernel for what it was asked to do; the message says what it has."""


def element_of(dtype: Any, trt: Any, allowed: tuple[ElementType, ...]) -> ElementType:
    """Triton's name of one of TensorRT's types. Raises Unsupported naming the types that there are."""
    names: dict[Any, ElementType] = {trt.DataType.HALF: "fp16", trt.DataType.BF16: "bf16", trt.DataType.FLOAT: "fp32"}
    element = names.get(dtype)
    if element not in allowed:
        raise Unsupported(f"expected tensors of {', '.join(allowed)}, got {dtype}")
    return element


def target_here() -> int:
    """Compute capability of the GPU that the engine is built on. Raises Unsupported where no kernel is made for it."""
    from triton.runtime import driver

    target = int(driver.active.get_current_target().arch)
    if target not in TARGETS:
        raise Unsupported(f"no kernel is made for sm_{target}; there are {', '.join(f'sm_{t}' for t in TARGETS)}")
    return target


def kernel_and_launch(
    trtp: Any,
    kernel: Any,
    work: Work,
    element: ElementType,
    batch: Any,
    target: Callable[[], int] = target_here,
) -> tuple[str, str, Any, Any]:
    """What ``aot_impl`` returns: the entry's name, its PTX, the launch parameters, the scalars between in- and outputs.

    ``batch`` is symbolic: an engine with a dynamic batch starts more programs, and only their number depends on it.
    """
    launch, stream = work.launch, work.stream
    made = compiled(kernel, launch, element, stream, target())
    parameters = trtp.KernelLaunchParams()
    sequences = batch * stream.groups
    parameters.grid_x = sequences if launch.groups == 1 else trtp.cdiv(sequences, launch.groups)
    _, parameters.grid_y, parameters.grid_z = launch.grid(stream, 1)
    parameters.block_x = made.resources.threads
    parameters.shared_mem = made.resources.shared_bytes
    values = scalar_values(launch, stream, 1, work.features)
    scalars = trtp.SymIntExprs(len(launch.scalars))
    for index, name in enumerate(launch.scalars):
        scalars[index] = trtp.SymInt32(sequences if name == "sequences" else values[name])
    return made.name, made.ptx, parameters, scalars
