"""The nodes for plugins of a graph file: as ``ftsf_plugins.prebuild`` takes them, and cut out of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsf_export.errors import EnvironmentLacks, UsageError
from ftsf_export.graph.plugin_ops import DOMAIN

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]


def nodes_for_plugins(onnx_path: Path, element: str) -> list[dict[str, Any]]:
    """Name, element type and attributes of each node for a plugin.

    Raises EnvironmentLacks without the onnx package, UsageError where the graph has no such node.
    """
    graph = _loaded(onnx_path).graph
    found = [
        {"name": node.op_type, "element": element, "attributes": _attributes(node)}
        for node in graph.node
        if node.domain == DOMAIN
    ]
    if not found:
        raise UsageError(f"{onnx_path.name}: no node of it is for a plugin; export with --plugins")
    return found


def without_nodes(onnx_path: Path, output: Path, clips: int) -> dict[str, Shape]:
    """The graph around its nodes for plugins at ``clips`` clips, in the file ``output`` of the same folder: what a node
    reads is an output there, and what it writes an input, as a plugin reads and writes memory. Returns the shape of
    each input.

    For its plan alone: what a compiler makes of the rest, where it takes no plugins. Raises EnvironmentLacks without
    the onnx package.
    """
    model = _loaded(onnx_path)
    from onnx import helper, save

    graph, kept = model.graph, []
    types = {one.name: one.type.tensor_type.elem_type for one in graph.value_info}
    for value in graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = clips
    for node in graph.node:
        if node.domain != DOMAIN:
            kept.append(node)
            continue
        own = _attributes(node)
        rows, inner = own["frames"] * own["tokens"], own["heads"] * own["width"]
        stream, out = node.input[0], node.output[0]
        graph.output.append(helper.make_tensor_value_info(stream, types[stream], (clips, rows, 3 * inner)))
        graph.input.append(helper.make_tensor_value_info(out, types[stream], (clips, rows, inner)))
    del graph.node[:], model.functions[:], graph.value_info[:]
    graph.node.extend(kept)
    save(model, str(output))
    return {one.name: tuple(dim.dim_value for dim in one.type.tensor_type.shape.dim) for one in graph.input}


def _loaded(onnx_path: Path) -> onnx.ModelProto:
    try:
        import onnx
    except ImportError as error:
        raise EnvironmentLacks("the onnx package is not installed", extra="onnx") from error
    return onnx.load(str(onnx_path), load_external_data=False)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Those that are numbers or words."""
    from onnx.helper import get_attribute_value

    values = {one.name: get_attribute_value(one) for one in node.attribute}
    return {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in values.items()
        if not isinstance(value, list)
    }
