"""``ftsf::FtsfFavorAttention``: what it takes, and its registration with TensorRT (10.7 or later) as a quickly
deployable plugin. ``ftsf_plugins.plugin_v3`` registers it with TensorRT 10.3.

Not with ``from __future__ import annotations``: TensorRT reads the annotations as types. It also reads the names of the
arguments: they are those of the node, used or not.
"""

# ruff: noqa: ARG001
# mypy: disable-error-code="untyped-decorator"

from collections.abc import Mapping
from typing import Any

from ftsf_plugins.deploy import NAMESPACE, element_of, kernel_and_launch, target_here
from ftsf_plugins.favor_attention.launch import favor_launch
from ftsf_plugins.launch import ElementType, Turns
from ftsf_plugins.operation import Operation, Work
from ftsf_plugins.stream import Stream

NAME = "FtsfFavorAttention"
# In FP32 the products leave no room in the registers: of such a graph's nodes the functions are compiled.
TYPES = "FP16|BF16, FP16|BF16, FP32, FP32, FP16|BF16"


def work_of(attributes: Mapping[str, Any], element: ElementType) -> Work:
    """The kernel for a node's attributes. Raises ValueError naming the wrong one."""
    stream = Stream(*(attributes[name] for name in ("frames", "tokens", "heads", "width", "along")))
    turns, features = Turns(attributes["axes"], attributes["pairs"]), attributes["features"]
    launch = favor_launch(stream, features, turns, element, eps=attributes["eps"], feature=attributes["feature"])
    return Work(stream, launch, features)


OPERATION = Operation(
    name=NAME,
    inputs=("qkv", "omega", "positions", "frequencies"),
    like_stream=("qkv", "omega"),
    attributes={
        "frames": int, "tokens": int, "heads": int, "width": int, "along": str, "axes": int, "pairs": str,
        "features": int, "eps": float, "feature": str,
    },
    elements=("fp16", "bf16"),
    work=work_of,
)  # fmt: skip


def register(target: Any = target_here) -> None:
    """Call it before a network with the plugin is parsed. ``target``: says which compute capability to compile for.

    Raises ModuleNotFoundError where TensorRT's Python package is missing.
    """
    import tensorrt as trt
    import tensorrt.plugin as trtp

    identity = f"{NAMESPACE}::{NAME}"

    @trtp.register(identity)
    def describe(
        qkv: trtp.TensorDesc, omega: trtp.TensorDesc, positions: trtp.TensorDesc, frequencies: trtp.TensorDesc,
        frames: int, tokens: int, heads: int, width: int, along: str, axes: int, pairs: str,
        features: int, eps: float, feature: str,
    ) -> trtp.TensorDesc:  # fmt: skip
        out = qkv.like()
        out.shape_expr[2] = heads * width
        return out

    @trtp.autotune(identity)
    def tune(
        qkv: trtp.TensorDesc, omega: trtp.TensorDesc, positions: trtp.TensorDesc, frequencies: trtp.TensorDesc,
        outputs: tuple[trtp.TensorDesc],
    ) -> list[trtp.AutoTuneCombination]:  # fmt: skip
        return [trtp.AutoTuneCombination(TYPES, "LINEAR")]

    @trtp.aot_impl(identity)
    def implement(
        qkv: trtp.TensorDesc, omega: trtp.TensorDesc, positions: trtp.TensorDesc, frequencies: trtp.TensorDesc,
        frames: int, tokens: int, heads: int, width: int, along: str, axes: int, pairs: str,
        features: int, eps: float, feature: str, outputs: tuple[trtp.TensorDesc], tactic: int,
    ) -> tuple[str | bytes, str | bytes, trtp.KernelLaunchParams, trtp.SymExprs]:  # fmt: skip
        from ftsf_plugins.favor_attention import kernel

        element = element_of(qkv.dtype, trt, OPERATION.elements)
        work = work_of(
            {
                "frames": frames, "tokens": tokens, "heads": heads, "width": width,
                "along": along, "axes": axes, "pairs": pairs, "features": features, "eps": eps, "feature": feature,
            },
            element,
        )  # fmt: skip
        function = getattr(kernel, work.launch.kernel)
        return kernel_and_launch(trtp, function, work, element, qkv.shape_expr[0], target)
