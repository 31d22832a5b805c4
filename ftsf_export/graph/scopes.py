"""Which module each node came from. The exporter writes it beside each node; its optimizer forgets it on some."""

from __future__ import annotations

import ast

import onnx_ir as ir

from ftsf_export.graph.onnx_model import MODULE_KEY

_EXPORTER_KEY = "pkg.torch.onnx.name_scopes"


def keep_modules_only(graph: ir.Graph) -> None:
    """Put the module's path on every node under ``MODULE_KEY``, and drop all else that the exporter noted there:
    stack traces hold paths of the machine."""
    nodes = list(graph)
    scopes = {node: _exporter_scope(node) for node in nodes}
    # Backwards: a node that lost its scope takes what its consumers have in common, and they come after it.
    for node in reversed(nodes):
        if scopes[node] is None:
            users = [scopes[user] or "" for output in node.outputs for user, _ in output.uses()]
            scopes[node] = common_module(users)
    for node in nodes:
        node.metadata_props.clear()
        node.doc_string = None
        node.metadata_props[MODULE_KEY] = scopes[node] or ""


def module_of(node: ir.Node) -> str:
    return node.metadata_props[MODULE_KEY]


def is_within(module: str, scope: str) -> bool:
    """Whether ``module`` is ``scope`` or below it. A ``*`` in ``scope`` stands for any one part of the path."""
    wanted, parts = scope.split("."), module.split(".")
    return len(parts) >= len(wanted) and all(w in ("*", p) for w, p in zip(wanted, parts, strict=False))


def common_module(modules: list[str]) -> str:
    """The deepest module that holds all of them."""
    if not modules:
        return ""
    shared = []
    for parts in zip(*(module.split(".") for module in modules), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def _exporter_scope(node: ir.Node) -> str | None:
    """The innermost module's path; None where the exporter wrote none. The last entry is the operation itself."""
    text = node.metadata_props.get(_EXPORTER_KEY)
    if text is None:
        return None
    scopes = ast.literal_eval(text)
    return str(scopes[-2]) if len(scopes) > 1 else ""
