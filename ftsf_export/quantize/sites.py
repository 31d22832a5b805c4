"""What of a graph is quantized: the products of the blocks with a weight, by the value that they read.

Products of two activations (attention), the patch embedding and the head are no sites. A value that several products
read is quantized once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from ftsf_export.graph.node_scopes import scope_of
from ftsf_export.network.scope import ANY_BLOCK, PROJECTION, Scope

# They move values along, and leave the last axis as it is where its size stays.
MOVES = ("Reshape", "Transpose", "Gather", "Slice", "Squeeze", "Unsqueeze")
# What a site's value is: a norm's result, an attention's mixture before the output projection, an MLP's hidden layer.
Kind = Literal["norm", "mixed", "hidden"]


@dataclass(frozen=True, eq=False)
class Product:
    """A product with a weight: a LinearMap of the graph."""

    node: ir.Node  #: The MatMul.
    weight: ir.Value  #: (R, O), an initializer of its own.
    bias: ir.Node | None  #: The Add of the bias behind it; None where there is none.

    @property
    def module(self) -> Scope:
        return scope_of(self.node)

    @property
    def role(self) -> str:
        """The module's own name: ``to_q``, ``fc2``."""
        return self.module.parts[-1]

    @property
    def result(self) -> ir.Value:
        """The product before its bias."""
        return self.node.outputs[0]

    @property
    def bias_value(self) -> ir.Value | None:
        """(O,), the bias's initializer."""
        if self.bias is None:
            return None
        value = self.bias.inputs[1]
        assert value is not None
        return value


@dataclass(frozen=True, eq=False)
class Site:
    """A value that is quantized, and the products that read it."""

    source: ir.Value  #: (..., R).
    products: tuple[Product, ...]  #: In the graph's order.
    kind: Kind  #: What the value is.

    @property
    def name(self) -> str:
        """By which its range is known."""
        return str(self.source.name)

    @property
    def module(self) -> Scope:
        """What all of its products are part of: an attention, an MLP."""
        return Scope(".".join(self.products[0].module.parts[:-1]))

    def product(self, role: str) -> Product | None:
        return next((one for one in self.products if one.role == role), None)


def sites_of(graph: ir.Graph) -> tuple[Site, ...]:
    """The sites, in the graph's order."""
    found: dict[ir.Value, list[Product]] = {}
    for node in graph:
        product = _product(node)
        if product is not None:
            value = node.inputs[0]
            assert value is not None
            found.setdefault(_origin(value), []).append(product)
    return tuple(Site(source, tuple(products), _kind(source, products)) for source, products in found.items())


def read_by_products_alone(value: ir.Value, products: tuple[Product, ...]) -> bool:
    """Whether ``value`` goes into these products, moved or not, and nowhere else."""
    if value.is_graph_output() or not value.uses():
        return False
    nodes = {product.node for product in products}
    return all(
        user in nodes or (_keeps_channels(user, value) and read_by_products_alone(user.outputs[0], products))
        for user, _ in value.uses()
    )


def _product(node: ir.Node) -> Product | None:
    """The product that ``node`` is, if its weight is that of a linear map within a block."""
    module = scope_of(node)
    if node.op_type != "MatMul" or not ANY_BLOCK.holds(module):
        return None
    weight = node.inputs[1]
    if weight is None or not weight.is_initializer() or weight.name != f"{module}.weight":
        return None
    if weight.shape is None or len(weight.shape) != 2 or len(list(weight.uses())) != 1:
        return None
    users = [user for user, _ in node.outputs[0].uses()]
    added = users[0] if len(users) == 1 and users[0].op_type == "Add" else None
    bias = None if added is None else added.inputs[1]
    return Product(node, weight, added if bias is not None and bias.name == f"{module}.bias" else None)


def _origin(value: ir.Value) -> ir.Value:
    """The norm's result that ``value`` is a view of; ``value`` itself where there is none."""
    seen = value
    while True:
        node = seen.producer()
        if node is None:
            return value
        if node.op_type == "LayerNormalization":
            return seen
        before = node.inputs[0]
        if before is None or not _keeps_channels(node, before):
            return value
        seen = before


def _keeps_channels(node: ir.Node, value: ir.Value) -> bool:
    if node.op_type not in MOVES or value.shape is None or node.outputs[0].shape is None:
        return False
    return len(node.outputs[0].shape) > 0 and node.outputs[0].shape[-1] == value.shape[-1]


def _kind(source: ir.Value, products: list[Product]) -> Kind:
    node = source.producer()
    if node is not None and node.op_type == "LayerNormalization":
        return "norm"
    return "mixed" if products[0].role == PROJECTION else "hidden"
