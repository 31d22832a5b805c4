"""Names that say where in the model a node stands: ``blocks.3.spatial.attn/MatMul_2``; taps by their module's path."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

import onnx_ir as ir

from ftsf_export.errors import ExportError
from ftsf_export.graph.node_scopes import scope_of
from ftsf_export.network.scope import WHOLE, Scope

# Nodes of no module are named as if they were of this one.
ROOT = Scope("model")
# A constant's name tells its numbers up to here, then their digest: TensorRT takes no name above 4096 characters.
_LONGEST_NUMBERS = 200


def name_all(graph: ir.Graph, taps: Iterable[str], weights: Container[str]) -> None:
    """Name nodes and values by module, constants that are no ``weights`` by what they hold, and taps by their module.

    Raises ExportError when a tapped module gives no value, or more than one.
    """
    fixed = {value: str(value.name) for value in (*graph.inputs, *graph.outputs)}
    nodes = [(node, scope_of(node)) for node in graph]
    fixed.update({_result_of(nodes, graph.outputs, tap): tap for tap in taps})
    name_nodes(graph, fixed, ROOT)
    _name_constants(graph, weights)


def name_nodes(graph: ir.Graph, fixed: Mapping[ir.Value, str], root: Scope = WHOLE) -> None:
    """Name nodes by module and operator, those of no module as if they were of ``root``, and their values after them.

    ``fixed``: values that are called otherwise.
    """
    counts: Counter[str] = Counter()
    for node in graph:
        stem = (scope_of(node) or root).node(node.op_type)
        node.name = f"{stem}_{counts[stem]}" if counts[stem] else stem
        counts[stem] += 1
        for index, value in enumerate(node.outputs):
            suffix = f":{index}" if len(node.outputs) > 1 else ""
            value.name = fixed.get(value, f"{node.name}{suffix}")


def _result_of(nodes: Sequence[tuple[ir.Node, Scope]], outputs: Container[ir.Value], module: str) -> ir.Value:
    """The one value that leaves ``module``. ``nodes``: each with its own module."""
    inside = {node: None for node, own in nodes if Scope(module).holds(own)}
    leaving = [
        output
        for node in inside
        for output in node.outputs
        if output in outputs or any(user not in inside for user, _ in output.uses())
    ]
    if len(leaving) != 1:
        found = ", ".join(str(value.name) for value in leaving) or "none"
        raise ExportError(f"tap {module}: expected one value to leave the module, got {found}")
    return leaving[0]


def _name_constants(graph: ir.Graph, weights: Container[str]) -> None:
    """Shapes, axes and scalars: ``const/int64/8,197,512``. Two that hold the same become one."""
    for name in list(graph.initializers):
        value = graph.initializers[name]
        tensor = value.const_value
        if tensor is None:
            raise ExportError(f"constant {name}: no value")
        if name in weights:
            continue
        numbers = ",".join(map(str, tensor.numpy().reshape(-1).tolist()))
        if len(numbers) > _LONGEST_NUMBERS:
            numbers = hashlib.sha256(numbers.encode()).hexdigest()[:16]
        new = f"const/{str(tensor.dtype).lower()}{list(tensor.shape.numpy())}/{numbers}"
        graph.initializers.pop(name)
        if new in graph.initializers:
            ir.convenience.replace_all_uses_with(value, graph.initializers[new])
            continue
        value.name = new
        tensor.name = new
        graph.initializers.add(value)
