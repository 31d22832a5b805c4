"""The nodes for plugins of a graph file, as ``ftsf_plugins.prebuild`` takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftsf_export.errors import EnvironmentLacks, UsageError
from ftsf_export.graph.plugin_ops import DOMAIN


def nodes_for_plugins(onnx_path: Path, element: str) -> list[dict[str, Any]]:
    """Name, element type and attributes of each node for a plugin.

    Raises EnvironmentLacks without the onnx package, UsageError where the graph has no such node.
    """
    try:
        import onnx
    except ImportError as error:
        raise EnvironmentLacks("the onnx package is not installed", extra="onnx") from error
    graph = onnx.load(str(onnx_path), load_external_data=False).graph
    found = []
    for node in graph.node:
        if node.domain == DOMAIN:
            values = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            attributes = {
                name: value.decode() if isinstance(value, bytes) else value
                for name, value in values.items()
                if not isinstance(value, list)
            }
            found.append({"name": node.op_type, "element": element, "attributes": attributes})
    if not found:
        raise UsageError(f"{onnx_path.name}: no node of it is for a plugin; export with --plugins")
    return found
