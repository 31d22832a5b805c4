"""What a plugin's node means, as a model-local function of standard operators: traced from the core's own form.

The body is general in the batch, and in the axes of positions; along which of time and space it goes is an attribute
that its two transpositions refer to. Names inside are those of the core's modules, so that a compiler that inlines the
function shows ``core.pool_q.softmax/Softmax`` under the node's name, and islands are found as in the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import Tensor, nn

from ftsf_export.bundle.specs import BATCH
from ftsf_export.errors import ExportError
from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.forms.plugin import PluginCore
from ftsf_export.graph.function_constants import constants_to_nodes
from ftsf_export.graph.node_names import name_nodes
from ftsf_export.graph.node_scopes import keep_scopes_only, put_scope, scope_of
from ftsf_export.graph.plugin_ops import DOMAIN, OWN_ATTRIBUTES
from ftsf_export.graph.trace import converted
from ftsf_export.network.scope import CORE, WHOLE, Scope

# The core's name in what is traced; names in the function start below it.
_TRACED_AS = Scope(CORE)


class _Body(nn.Module):
    """A core's decomposed form, its constants given."""

    def __init__(self, core: PluginCore) -> None:
        super().__init__()
        self.core = core

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.core.decomposed(*inputs)


def functions_of(form: nn.Module, opset: int) -> tuple[ir.Function, ...]:
    """One FP32 function for each kind of node in ``form``, none where it has none.

    Raises ExportError where two nodes of one kind would need different bodies.
    """
    cores: dict[str, list[tuple[str, PluginCore]]] = {}
    for path, module in form.named_modules():
        if isinstance(module, PluginCore):
            cores.setdefault(module.op.name, []).append((path, module))
    for same in cores.values():
        _check_alike(same)
    return tuple(_function(same[0][1], opset) for same in cores.values())


def _check_alike(cores: Iterable[tuple[str, PluginCore]]) -> None:
    (first_path, first), *others = cores
    for path, core in others:
        for name, value in first.attributes().items():
            if name not in OWN_ATTRIBUTES and core.attributes()[name] != value:
                raise ExportError(
                    f"{path}: expected {name} {value!r} as in {first_path}, whose function it shares, "
                    f"got {core.attributes()[name]!r}"
                )


def _function(core: PluginCore, opset: int) -> ir.Function:
    graph = _traced(core, opset)
    keep_scopes_only(graph)
    for node in graph:
        put_scope(node, scope_of(node).inside(_TRACED_AS) or WHOLE)
    _refer_to_orders(graph, core)
    _free_sizes(graph, core)
    for value, name in zip(graph.inputs, core.op.inputs, strict=True):
        value.name = name
    _drop_unused(graph)
    constants_to_nodes(graph)
    name_nodes(graph, {graph.outputs[0]: "out"})
    for value in _values(graph):
        # Another node of the same function has other groups.
        value.shape = None
        value.doc_string = None
        value.metadata_props.clear()
    graph.metadata_props.clear()
    graph.opset_imports.clear()
    graph.opset_imports[""] = opset
    attributes = [ir.Attr(name, _kind(value), None) for name, value in core.attributes().items()]
    return ir.Function(DOMAIN, core.op.name, graph=graph, attributes=attributes)


def _traced(core: PluginCore, opset: int) -> ir.Graph:
    grid = core.grid
    qkv = torch.zeros(2, grid.frames * grid.tokens, 3 * grid.heads * grid.width)
    constants = [core.get_parameter(name).detach().float().cpu() for name in core.op.inputs[1:]]
    batch = {0: torch.export.Dim(BATCH, min=1)}
    shapes = ((batch, *(None for _ in constants)),)
    return converted(_Body(core), (qkv, *constants), opset, shapes, inputs=core.op.inputs, outputs=["out"]).graph


def _drop_unused(graph: ir.Graph) -> None:
    """Constants of the core have become inputs, and shapes others."""
    for name in [name for name, value in graph.initializers.items() if not list(value.uses())]:
        graph.initializers.pop(name)


def _refer_to_orders(graph: ir.Graph, core: PluginCore) -> None:
    """Let the order of a transposition be the node's own attribute."""
    for module, attribute in core.ordered.items():
        found = [node for node in graph if node.op_type == "Transpose" and scope_of(node) == module]
        orders = {tuple(node.attributes["perm"].as_ints()) for node in found}
        if orders != {core.attributes()[attribute]}:
            raise ExportError(f"{core.op.name}: expected Transposes by {attribute} in {module}, got {orders or 'none'}")
        for node in found:
            node.attributes["perm"] = ir.RefAttr("perm", attribute, ir.AttributeType.INTS)


def _free_sizes(graph: ir.Graph, core: PluginCore) -> None:
    """Let a Reshape say 0, "as in the input", for the dimensions before those that it cuts or joins, and -1 for the
    tokens: groups and tokens are other numbers along time, where the class token takes no part, than along space."""
    for node in graph:
        if node.op_type != "Reshape":
            continue
        source, shape = node.inputs
        assert source is not None
        assert source.shape is not None
        assert shape is not None
        assert shape.const_value is not None
        sizes = shape.const_value.numpy().copy()
        for axis, size in enumerate(source.shape):
            if axis == len(sizes) or sizes[axis] != (size if isinstance(size, int) else -1):
                break
            sizes[axis] = 0
        _infer_tokens(sizes, core.grid)
        name = f"{shape.name}/{len(graph.initializers)}"
        kept = ir.Value(name=name, type=shape.type, const_value=ir.tensor(sizes, name=name))
        graph.initializers.add(kept)
        node.replace_input_with(1, kept)
        node.attributes.pop("allowzero", None)


def _infer_tokens(sizes: npt.NDArray[np.int64], grid: Grid) -> None:
    """Put -1 for T in (0, F, T, ...) and for S in (0, S, ...)."""
    if list(sizes[:3]) == [0, grid.frames, grid.tokens]:
        sizes[2] = -1
    elif list(sizes[:2]) == [0, grid.frames * grid.tokens]:
        sizes[1] = -1


def _kind(value: object) -> ir.AttributeType:
    kinds = {int: ir.AttributeType.INT, float: ir.AttributeType.FLOAT, str: ir.AttributeType.STRING}
    return kinds.get(type(value), ir.AttributeType.INTS)


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    for node in graph:
        yield from node.outputs
