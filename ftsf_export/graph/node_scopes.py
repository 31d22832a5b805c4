"""Which module each node came from. The exporter writes it beside each node; its optimizer forgets it on some."""

from __future__ import annotations

import ast

import onnx_ir as ir

from ftsf_export.graph.onnx_model import MODULE_KEY
from ftsf_export.network.scope import WHOLE, Scope

_EXPORTER_KEY = "pkg.torch.onnx.name_scopes"


def keep_scopes_only(graph: ir.Graph) -> None:
    """Put the module's path on every node under ``MODULE_KEY``, and drop all else that the exporter noted there:
    stack traces hold paths of the machine."""
    nodes = list(graph)
    scopes = {node: _exporter_scope(node) for node in nodes}
    # Backwards: a node that lost its scope takes what its consumers have in common, and they come after it.
    for node in reversed(nodes):
        if scopes[node] is None:
            users = [scopes[user] or WHOLE for output in node.outputs for user, _ in output.uses()]
            scopes[node] = Scope.common(users)
    for node in nodes:
        node.metadata_props.clear()
        node.doc_string = None
        put_scope(node, scopes[node] or WHOLE)


def scope_of(node: ir.Node) -> Scope:
    """The module that the node came from."""
    return Scope(node.metadata_props[MODULE_KEY])


def put_scope(node: ir.Node, scope: Scope) -> None:
    """Note the module that the node came from."""
    node.metadata_props[MODULE_KEY] = str(scope)


def _exporter_scope(node: ir.Node) -> Scope | None:
    """The innermost module's path; None where the exporter wrote none. The last entry is the operation itself."""
    text = node.metadata_props.get(_EXPORTER_KEY)
    if text is None:
        return None
    scopes = ast.literal_eval(text)
    return Scope(scopes[-2]) if len(scopes) > 1 else WHOLE
