"""FP32 graph -> strongly typed FP16 or BF16 graph: the precision is in the graph, the compiler only obeys.

Everything floating becomes half, but for the islands (``forms.island``): their nodes compute in FP32, with casts where
values enter and leave. What leaves an island is half, also on its way to another island: an FP32 tensor as large as the
features of FAVOR+ is never written, and numerator and denominator see the same rounded numbers. Inputs and outputs
keep their types.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ftsf_export.errors import ExportError
from ftsf_export.graph.function_constants import constants_from_nodes, constants_to_nodes
from ftsf_export.graph.node_scopes import put_scope, scope_of
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.graph.plugin_ops import DOMAIN, PLUGIN_OPS
from ftsf_export.network.scope import Scope
from ftsf_export.precision import BF16, FP32, HALVES, PRECISIONS

FLOAT = ir.DataType[FP32.onnx]


def to_precision(source: OnnxModel, precision: str) -> OnnxModel:
    """``source``, which must be FP32, in ``precision``; ``source`` is left as it is.

    Raises ExportError where a weight does not fit into the type (an FP16 number ends at 65504), naming it.
    """
    if source.precision != FP32.name:
        raise ValueError(f"expected an FP32 graph, got {source.precision}")
    if precision == FP32.name:
        return source
    if precision not in HALVES:
        raise ValueError(f"expected {FP32.name}, {' or '.join(HALVES)}, got {precision!r}")
    model = source.model.clone()
    scopes = tuple(Scope(island.scope) for island in source.islands)
    for function in model.functions.values():
        callers = [scope_of(node) for node in model.graph if node.op_identifier() == function.identifier()]
        _narrow_function(function, precision, _scopes_inside(scopes, callers))
    narrowing = _Narrowing(model.graph, precision, scopes)
    narrowing.run()
    narrowing.widen_outputs()
    return replace(source, model=model, precision=precision)


def _half(precision: str) -> ir.DataType:
    return ir.DataType[PRECISIONS[precision].onnx]


def _scopes_inside(scopes: tuple[Scope, ...], callers: Iterable[Scope]) -> tuple[Scope, ...]:
    """Islands in a function's body, by their paths from there: those below one of the nodes that call it."""
    inside = dict.fromkeys(scope.inside(caller) for caller in callers for scope in scopes)
    return tuple(scope for scope in inside if scope is not None)


def _narrow_function(function: ir.Function, precision: str, islands: tuple[Scope, ...]) -> None:
    """The body of a plugin's node: half in and out, and FP32 what the plugin takes in FP32."""
    op = PLUGIN_OPS[function.name]
    graph = function.graph
    for slot, value in enumerate(graph.inputs):
        if not op.stays_fp32(slot):
            value.type = ir.TensorType(_half(precision))
    constants_from_nodes(graph)
    _Narrowing(graph, precision, islands).run()
    constants_to_nodes(graph)
    for node in graph:
        for value in node.outputs:
            value.shape = None


class _Narrowing:
    """One pass over a graph, in order."""

    def __init__(self, graph: ir.Graph, precision: str, islands: tuple[Scope, ...]) -> None:
        self.graph = graph
        self.precision = precision
        self.half = _half(precision)
        self.islands = islands
        self.casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        # FP32 values -> the island that they were made in.
        self.homes: dict[ir.Value, Scope] = {}

    def run(self) -> None:
        """Everything but the outputs."""
        for node in list(self.graph):
            island = self._island_of(node)
            kind = self._kind_of(node, island)
            for slot, value in enumerate(node.inputs):
                if value is None or value.dtype is None or not value.dtype.is_floating_point():
                    continue
                if not (node.domain == DOMAIN and PLUGIN_OPS[node.op_type].stays_fp32(slot)):
                    if self.homes.get(value, island) != island:
                        value = self._as(value, self.half, node)
                    node.replace_input_with(slot, self._as(value, kind, node))
            for output in node.outputs:
                if output.dtype == FLOAT:
                    output.type = ir.TensorType(kind)
                    if node.op_type == "Cast":
                        node.attributes["to"] = ir.AttrInt64("to", int(kind))
                    if island is not None:
                        self.homes[output] = island
        self._drop_unused_constants()

    def widen_outputs(self) -> None:
        """The graph's outputs stay float32."""
        for index, output in enumerate(list(self.graph.outputs)):
            if output.dtype == self.half:
                self._widen_output(index, output)

    def _kind_of(self, node: ir.Node, island: Scope | None) -> ir.DataType:
        """What the node computes in. Pixels in uint8 become FP32 on their way to BF16: TensorRT converts uint8 to FP32
        and FP16 alone (its ``DataType.UINT8``)."""
        source = node.inputs[0] if node.op_type == "Cast" else None
        if source is not None and source.dtype == ir.DataType.UINT8 and self.half is ir.DataType.BFLOAT16:
            return FLOAT
        return self.half if island is None else FLOAT

    def _island_of(self, node: ir.Node) -> Scope | None:
        """The path of the island module that the node belongs to."""
        module = scope_of(node)
        return next((island for scope in self.islands if (island := scope.match(module)) is not None), None)

    def _as(self, value: ir.Value, kind: ir.DataType, user: ir.Node) -> ir.Value:
        """``value`` in type ``kind``: itself, a converted constant, or a cast before ``user``."""
        if value.dtype == kind:
            return value
        key = (value, kind)
        if key not in self.casts:
            if value.is_initializer():
                self.casts[key] = self._converted(value)
            else:
                self.casts[key] = self._cast(value, kind, user)
        return self.casts[key]

    def _converted(self, value: ir.Value) -> ir.Value:
        tensor = value.const_value
        assert tensor is not None
        wide = tensor.numpy()
        with np.errstate(over="ignore"):
            narrow = wide.astype(self.half.numpy())
        lost = np.isfinite(wide) & ~np.isfinite(narrow.astype(np.float32))
        if lost.any():
            worst = float(np.abs(wide[lost]).max())
            raise ExportError(
                f"{value.name}: {int(lost.sum())} weights do not fit into {self.precision} (largest {worst:.4g}); "
                f"use {BF16.name} or {FP32.name}"
            )
        name = f"{value.name}:{self.precision}"
        converted = ir.Value(name=name, type=ir.TensorType(self.half), shape=value.shape)
        converted.const_value = ir.Tensor(narrow, dtype=self.half, name=name)
        self.graph.initializers.add(converted)
        return converted

    def _cast(self, value: ir.Value, kind: ir.DataType, user: ir.Node) -> ir.Value:
        cast = _cast_node(value, kind, scope_of(user))
        producer = value.producer()
        if producer is None:
            self.graph.insert_before(self.graph[0], cast)
        else:
            self.graph.insert_after(producer, cast)
        return cast.outputs[0]

    def _widen_output(self, index: int, output: ir.Value) -> None:
        """The graph's output stays float32 and keeps its name; the half value behind it gets another."""
        producer = output.producer()
        assert producer is not None
        cast = _cast_node(output, FLOAT, scope_of(producer))
        self.graph.insert_after(producer, cast)
        widened, name = cast.outputs[0], output.name
        output.name = f"{name}:{self.precision}"
        widened.name = name
        self.graph.outputs[index] = widened

    def _drop_unused_constants(self) -> None:
        for name in [name for name, value in self.graph.initializers.items() if not list(value.uses())]:
            self.graph.initializers.pop(name)
        # A constant needed in one type only keeps its plain name.
        for (wide, _), value in self.casts.items():
            if value.is_initializer() and wide.name not in self.graph.initializers:
                self.graph.initializers.pop(str(value.name))
                assert value.const_value is not None
                value.name = value.const_value.name = wide.name
                self.graph.initializers.add(value)


def _cast_node(value: ir.Value, kind: ir.DataType, module: Scope) -> ir.Node:
    node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(kind))])
    put_scope(node, module)
    node.name = f"{value.name}/Cast:{kind.name.lower()}"
    out = node.outputs[0]
    out.name, out.type, out.shape = node.name, ir.TensorType(kind), value.shape
    return node
