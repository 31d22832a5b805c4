"""Which kernels a bundle starts: the nodes for plugins of its graph. ``scripts/build-plugins --bundle`` asks for them.

Run as ``python -m ftsf_export.pipeline.plugin_nodes BUNDLE``: prints JSON, one object a node.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftsf_export.bundle import Bundle
from ftsf_export.errors import EnvironmentLacks, FtsfError, UsageError
from ftsf_export.graph.plugin_ops import DOMAIN


def plugin_nodes(onnx_path: Path, element: str) -> list[dict[str, Any]]:
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


def main(arguments: Sequence[str]) -> int:
    try:
        bundle = Bundle.open(arguments[0])
        with bundle.graph_copy() as graph:
            print(json.dumps(plugin_nodes(graph, bundle.manifest.precision)))
    except FtsfError as error:
        print(f"build-plugins: {error.message}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
