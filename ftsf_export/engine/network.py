"""What the parsed network says of its matrix products, before the compiler touches it. Runs in the build's process.

Letters: H heads, Nq and Nk tokens of queries and keys, Kq and Kv head widths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftsf_export.engine.kernel_plan import is_inlined, nodes_named
from ftsf_export.engine.request import Product
from ftsf_export.precision import PRECISIONS

# Layers of a network that multiply matrices. ATTENTION_OUTPUT carries the ONNX node of the two ATTENTION layers.
_MATRIX_MULTIPLY, _ATTENTION, _EINSUM = "MATRIX_MULTIPLY", "ATTENTION_INPUT", "EINSUM"
_CONVOLUTIONS = ("CONVOLUTION", "DECONVOLUTION")
_DEQUANTIZE = "DEQUANTIZE"
# Between integers and a product: what scales them, and what moves them along.
_LOOKED_THROUGH = (_DEQUANTIZE, "SHUFFLE", "GATHER", "SLICE", "SQUEEZE", "UNSQUEEZE")
_DTYPES = {precision.engine: name for name, precision in PRECISIONS.items()}


def products_of(trt: Any, network: Any) -> tuple[Product, ...]:
    """Every matrix product, convolution and attention, with its operand types and its work at the network's shapes."""
    found = []
    makers = {layer.get_output(0).name: layer for layer in layers_of(network) if layer.type.name in _LOOKED_THROUGH}
    for layer in layers_of(network):
        kind = layer.type.name
        if kind not in (_MATRIX_MULTIPLY, _ATTENTION, _EINSUM, *_CONVOLUTIONS):
            continue
        inputs = [tensor for i in range(layer.num_inputs) if (tensor := layer.get_input(i)) is not None]
        found.append(
            Product(
                node=_node_of(layer),
                kind="ATTENTION" if kind == _ATTENTION else kind,
                types=tuple(_type_of(tensor, makers) for tensor in inputs),
                flops=_flops(trt, layer, kind, [tuple(t.shape) for t in inputs]),
            )
        )
    return tuple(found)


def _type_of(tensor: Any, makers: Mapping[str, Any]) -> str:
    """The element type of an operand; of one that comes out of a dequantization, moved or not, what that reads."""
    kind, seen = tensor.dtype, tensor
    while (maker := makers.get(seen.name)) is not None:
        seen = maker.get_input(0)
        if maker.type.name == _DEQUANTIZE:
            kind = seen.dtype
            break
    name = str(kind.name)
    return _DTYPES.get(name, name.lower())


def _node_of(layer: Any) -> str:
    """The ONNX node's name. Layers from a function's body carry its short name with a number; their note says whose."""
    note = getattr(layer, "metadata", "")
    if is_inlined(note):
        return nodes_named(note)[0]
    return str(layer.name).removesuffix("_AttentionInput")


def layers_of(network: Any) -> Iterator[Any]:
    return (network.get_layer(index) for index in range(network.num_layers))


def _flops(trt: Any, layer: Any, kind: str, inputs: Sequence[tuple[int, ...]]) -> int | None:
    """A multiplication and an addition are two. None where a dimension is dynamic."""
    result = tuple(layer.get_output(0).shape)
    if any(size < 0 for shape in (*inputs, result) for size in shape):
        return None
    if kind == _MATRIX_MULTIPLY:
        layer.__class__ = trt.IMatrixMultiplyLayer
        summed: int = inputs[0][-2 if layer.op0 == trt.MatrixOperation.TRANSPOSE else -1]
        work: int = 2 * math.prod(result) * summed
        return work
    if kind == _ATTENTION:
        (*groups, queries, width), keys, values = inputs[:3]
        return 2 * math.prod(groups) * queries * keys[-2] * (width + values[-1])
    if kind in _CONVOLUTIONS:
        layer.__class__ = trt.IConvolutionLayer if kind == "CONVOLUTION" else trt.IDeconvolutionLayer
        window = math.prod(layer.kernel_size_nd)
        # Each input pixel of a deconvolution, each output pixel of a convolution, meets the whole window.
        pixels, channels = (result, inputs[0][1]) if kind == "CONVOLUTION" else (inputs[0], result[1])
        convolved: int = 2 * math.prod(pixels) * channels // layer.num_groups * window
        return convolved
    layer.__class__ = trt.IEinsumLayer
    sizes: dict[str, int] = {}
    for labels, shape in zip(layer.equation.split("->")[0].split(","), inputs, strict=True):
        sizes.update(zip(labels.strip(), shape, strict=True))
    return 2 * math.prod(sizes.values())
