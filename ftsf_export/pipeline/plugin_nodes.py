"""Which kernels a bundle starts: the nodes for plugins of its graph. ``scripts/build-plugins --bundle`` asks for them.

Run as ``python -m ftsf_export.pipeline.plugin_nodes BUNDLE``: prints JSON, one object a node.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from ftsf_export.bundle import Bundle
from ftsf_export.errors import FtsfError
from ftsf_export.graph.nodes_for_plugins import nodes_for_plugins


def main(arguments: Sequence[str]) -> int:
    try:
        bundle = Bundle.open(arguments[0])
        with bundle.graph_copy() as graph:
            print(json.dumps(nodes_for_plugins(graph, bundle.manifest.precision)))
    except FtsfError as error:
        print(f"build-plugins: {error.message}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
