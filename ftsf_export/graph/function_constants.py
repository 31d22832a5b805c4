"""Constants of a function's body: nodes in the file, since a function has no initializers, initializers in a pass."""

from __future__ import annotations

import onnx_ir as ir

from ftsf_export.graph.node_scopes import put_scope, scope_of


def constants_to_nodes(graph: ir.Graph) -> None:
    """Initializers -> Constant nodes: a function has no initializers."""
    for name, value in list(graph.initializers.items()):
        graph.initializers.pop(name)
        assert value.const_value is not None
        scope = scope_of(next(user for user, _ in value.uses()))
        constant = ir.Node("", "Constant", [], [ir.AttrTensor("value", value.const_value)], name=name)
        put_scope(constant, scope)
        made = constant.outputs[0]
        made.name, made.type, made.shape = name, value.type, value.shape
        ir.convenience.replace_all_uses_with(value, made)
        graph.insert_before(graph[0], constant)


def constants_from_nodes(graph: ir.Graph) -> None:
    """The way back: the precision pass knows constants as initializers."""
    for node in [node for node in graph if node.op_type == "Constant"]:
        old = node.outputs[0]
        tensor = node.attributes["value"].as_tensor()
        new = ir.Value(name=old.name, type=old.type, shape=ir.Shape(tensor.shape.numpy()), const_value=tensor)
        ir.convenience.replace_all_uses_with(old, new)
        graph.remove(node, safe=True)
        graph.initializers.add(new)
