"""Where ``QuantizeLinear`` and ``DequantizeLinear`` stand, and with which scales: what a compiler fuses into products
of 8 bits (measured with TensorRT for RTX 1.7.1 and ONNX Runtime 1.31).

Two forms. For a GPU: one scale a tensor, a common one for queries, keys and values and one for the two halves of a
GEGLU, since compilers make one product of them only then; results that nobody needs in half precision leave the
product in 8 bits, before the bias, since its kernel adds none. For ONNX Runtime on a CPU: one scale a column of each
weight, and results in FP32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ftsf_export.graph.node_scopes import put_scope
from ftsf_export.network.scope import Scope
from ftsf_export.quantize.equalise import Array, constant, put_value, value_of
from ftsf_export.quantize.observe import Observed
from ftsf_export.quantize.scales import LEVELS, Histogram, histogram_of, range_of, scale_of
from ftsf_export.quantize.sites import MOVES, Product, Site, read_by_products_alone

# Products that become one: their weights have one scale, and so have their results.
_MERGED = (("to_q", "to_k", "to_v"), ("fc1_value", "fc1_gate"))
_ZERO, _MIDDLE = np.zeros((), np.int8), np.full((), 128, np.uint8)
_RESULTS = frozenset({"fc1", "fc1_value", "fc1_gate", "fc2", "to_out"})
# Additive attention multiplies its values by one vector a head: no fused kernel reads them in half precision.
_RESULTS_ADDITIVE = frozenset({"to_v", "to_rest"})


@dataclass(frozen=True)
class Form:
    """For whom a graph of 8 bits is written."""

    cpu: bool  #: For ONNX Runtime on a CPU; otherwise for a GPU.
    results: frozenset[str] = frozenset()  #: Roles of the products whose results are quantized.

    @classmethod
    def for_gpu(cls, algebra: str) -> Form:
        return cls(cpu=False, results=_RESULTS | (_RESULTS_ADDITIVE if algebra == "additive" else frozenset()))

    @classmethod
    def for_cpu(cls) -> Form:
        return cls(cpu=True)

    def quantized_results(self, sites: Iterable[Site]) -> tuple[Product, ...]:
        return tuple(product for site in sites for product in site.products if product.role in self.results)


def place(
    graph: ir.Graph, sites: Sequence[Site], observed: Mapping[str, Observed], form: Form, *, method: str
) -> dict[str, float]:
    """Writes the nodes, in place. Gives the range of each quantized value, by its name.

    ``observed``: the sites' values and the quantized results, by name; ``method``: see ``range_of``.
    """
    ranges: dict[str, float] = {}
    for site in sites:
        ranges[site.name] = range_of(observed[site.name].histogram, method)
        _source(graph, site, scale_of(ranges[site.name]), form)
        for group in _groups(site.products):
            _weights(graph, group, observed[site.name], for_cpu=form.cpu)
            results = [product for product in group if product.role in form.results]
            if results:
                _results(graph, results, observed, ranges, method)
    return ranges


def _groups(products: Sequence[Product]) -> list[list[Product]]:
    """Products of one scale."""
    found: dict[tuple[str, ...], list[Product]] = {}
    for product in products:
        key = next((roles for roles in _MERGED if product.role in roles), (product.role,))
        found.setdefault(key, []).append(product)
    return list(found.values())


def _source(graph: ir.Graph, site: Site, scale: np.float32, form: Form) -> None:
    """One pair for all products that read the site's value, itself or views of it that products alone read.

    A view that something else reads too stays as it is, and the products behind it get a pair of its own.
    """
    nodes = {product.node: None for product in site.products}
    users = [
        (user, slot)
        for user, slot in site.source.uses()
        if user in nodes or (not form.cpu and read_by_products_alone(user.outputs[0], site.products))
    ]
    if users:
        _pair(graph, site.source, scale, users, for_cpu=form.cpu)
    apart: dict[ir.Value, list[tuple[ir.Node, int]]] = {}
    for node in nodes:
        value = node.inputs[0]
        assert value is not None
        if not _is_quantized(value):
            apart.setdefault(value, []).append((node, 0))
    for value, readers in apart.items():
        _pair(graph, value, scale, readers, for_cpu=form.cpu)


def _is_quantized(value: ir.Value) -> bool:
    """Whether it is a pair's, or a view of one."""
    node = value.producer()
    while node is not None and node.op_type in MOVES and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node is not None and node.op_type == "DequantizeLinear"


def _results(
    graph: ir.Graph,
    products: Sequence[Product],
    observed: Mapping[str, Observed],
    ranges: dict[str, float],
    method: str,
) -> None:
    """One scale for the results of ``products``."""
    seen = Histogram.empty()
    for product in products:
        seen = seen.joined(observed[str(product.result.name)].histogram)
    end = range_of(seen, method)
    for product in products:
        ranges[str(product.result.name)] = end
        _pair(graph, product.result, scale_of(end), list(product.result.uses()))


def _weights(graph: ir.Graph, products: Sequence[Product], source: Observed, *, for_cpu: bool) -> None:
    """The weights as integers with a node behind each that scales them, and biases that make up for their rounding."""
    wide = [value_of(product.weight) for product in products]
    if for_cpu:
        scales = [_column_scales(weight) for weight in wide]
    else:
        common = scale_of(range_of(histogram_of(np.concatenate([one.ravel() for one in wide])), "mse"))
        scales = [np.asarray(common)] * len(wide)
    for product, weight, scale in zip(products, wide, scales, strict=True):
        rounded = rounded_to(weight, scale)
        _correct_bias(product, source.channel_mean @ (weight - rounded * scale).astype(np.float64))
        put_value(product.weight, rounded)
        if for_cpu and product.bias_value is not None:
            # A bias of one dimension becomes part of a Gemm of FP32.
            numbers = value_of(product.bias_value)
            product.bias_value.shape = ir.Shape((1, 1, *numbers.shape))
            put_value(product.bias_value, numbers[None, None])
        slot = product.node.inputs.index(product.weight)
        node = _scaled(graph, product.weight, scale, product.module, axis=1 if for_cpu else None)
        graph.insert_before(product.node, node)
        product.node.replace_input_with(slot, node.outputs[0])


def rounded_to(values: Array, scale: npt.NDArray[np.floating]) -> npt.NDArray[np.int8]:
    """Symmetric integers of 8 bits, ties to even, as ``QuantizeLinear`` rounds."""
    return np.clip(np.round(values / scale), -LEVELS, LEVELS).astype(np.int8)


def _column_scales(weight: Array) -> npt.NDArray[np.float32]:
    """(O,): the range of a column is its largest."""
    return np.asarray([scale_of(float(end)) for end in np.abs(weight).max(axis=0)], np.float32)


def _correct_bias(product: Product, lost_O: npt.NDArray[np.float64]) -> None:
    """The mean of what rounding the weight takes from the result, in the bias. The result is multiplied by its columns'
    factors before the bias is added."""
    if product.bias_value is None:
        return
    after = product.bias.inputs[0] if product.bias is not None else None
    maker = None if after is None else after.producer()
    factor = value_of(maker.inputs[1]) if maker is not None and maker.op_type == "Mul" and maker.inputs[1] else 1.0
    bias = value_of(product.bias_value)
    put_value(product.bias_value, (bias + lost_O * factor).astype(bias.dtype))


def _pair(
    graph: ir.Graph,
    value: ir.Value,
    scale: np.float32,
    users: Sequence[tuple[ir.Node, int]],
    *,
    for_cpu: bool = False,
) -> None:
    """``value`` to 8 bits and back, for ``users``. ONNX Runtime multiplies integers on x86 only where those of the
    activations have no sign: 128 stands for 0 there."""
    maker = value.producer()
    assert maker is not None
    module = Scope.of_node(str(maker.name))
    numbers = constant(graph, f"{value.name}:scale", np.asarray(scale))
    point = _zero_point(graph, _MIDDLE if for_cpu else _ZERO)
    narrow = ir.Node("", "QuantizeLinear", [value, numbers, point], name=f"{value.name}/QuantizeLinear")
    small = narrow.outputs[0]
    small.name, small.type, small.shape = narrow.name, point.type, value.shape
    wide = ir.Node("", "DequantizeLinear", [small, numbers, point], name=f"{value.name}/DequantizeLinear")
    out = wide.outputs[0]
    out.name, out.type, out.shape = wide.name, value.type, value.shape
    for node in (narrow, wide):
        put_scope(node, module)
    graph.insert_after(maker, [narrow, wide])
    for user, slot in users:
        user.replace_input_with(slot, out)


def _scaled(
    graph: ir.Graph, weight: ir.Value, scale: npt.NDArray[np.float32], module: Scope, *, axis: int | None
) -> ir.Node:
    numbers = constant(graph, f"{weight.name}:scale", np.asarray(scale))
    zeros = np.zeros(scale.shape, np.int8)
    zero = _zero_point(graph, zeros) if axis is None else constant(graph, f"{weight.name}:zero", zeros)
    attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
    node = ir.Node("", "DequantizeLinear", [weight, numbers, zero], attributes, name=f"{weight.name}/DequantizeLinear")
    put_scope(node, module)
    out = node.outputs[0]
    out.name, out.type, out.shape = node.name, ir.TensorType(ir.DataType.FLOAT), weight.shape
    return node


def _zero_point(graph: ir.Graph, zero: npt.NDArray[np.generic]) -> ir.Value:
    """A scalar, which all scales of its kind share."""
    name = f"const/{zero.dtype}[]/{zero}"
    return graph.initializers[name] if name in graph.initializers else constant(graph, name, zero)
