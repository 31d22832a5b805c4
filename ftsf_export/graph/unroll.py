"""The traced network with two blocks -> the whole network: the first block repeated, real weights put in."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir
from torch import Tensor, nn

from ftsf_export.errors import ExportError
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.node_scopes import put_scope, scope_of
from ftsf_export.network.scope import BLOCKS, Scope

FIRST = BLOCKS / 0
TRACED_LAST = BLOCKS / 1


def unroll(graph: ir.Graph, form: ExportForm) -> None:
    """Repeat the first block ``depth - 2`` times and give every constant its real value, in place.

    Raises ExportError where the traced graph is not what repeating needs: one value in, one value out, every constant
    of the block a parameter of the module.
    """
    depth = len(form.blocks)
    parameters = dict(_constants(form))
    names = _shared_names(form)
    if depth > 2:
        _rename_scope(graph, TRACED_LAST, BLOCKS / (depth - 1))
        _check_alike(form)
        _repeat(graph, depth, {name for name in parameters if name not in names or names[name] == name})
    _put_weights(graph, parameters, names)


def _constants(form: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers under every name that they have."""
    yield from form.named_parameters(remove_duplicate=False)
    yield from form.named_buffers(remove_duplicate=False)


def constant_names(form: nn.Module) -> frozenset[str]:
    """Names that the graph's weights and tables may have."""
    return frozenset(name for name, _ in _constants(form))


def _shared_names(form: nn.Module) -> dict[str, str]:
    """Name of each constant -> the first name of the same tensor: tables are shared by all blocks."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(constant), name) for name, constant in _constants(form)}


def _check_alike(form: ExportForm) -> None:
    shapes = [{name: tuple(p.shape) for name, p in block.named_parameters()} for block in form.blocks]
    for index, other in enumerate(shapes[1:-1], start=1):
        if other != shapes[0]:
            raise ExportError(
                f"{BLOCKS / index}: expected the parameters of {FIRST}, which is repeated for it; they differ"
            )


def _rename_scope(graph: ir.Graph, old: Scope, new: Scope) -> None:
    for node in graph:
        module = scope_of(node)
        if old.holds(module):
            put_scope(node, module.moved(old, new))
    for name in [Scope(name) for name in graph.initializers if old.holds(name)]:
        value = graph.initializers.pop(name)
        value.name = name.moved(old, new)
        graph.initializers.add(value)


def _repeat(graph: ir.Graph, depth: int, own: set[str]) -> None:
    """``own``: names of parameters that each block has for itself."""
    block = [node for node in graph if FIRST.holds(scope_of(node))]
    source, result = _boundary(graph, block)
    position, stream = block[-1], result
    for index in range(1, depth - 1):
        to = BLOCKS / index
        values: dict[ir.Value, ir.Value] = {source: stream}
        copies = [_copied(graph, node, values, to, own) for node in block]
        graph.insert_after(position, copies)
        position, stream = copies[-1], values[result]
    inside = set(block)
    for user, slot in list(result.uses()):
        if user not in inside and not TRACED_LAST.holds(scope_of(user)):
            user.replace_input_with(slot, stream)


def _boundary(graph: ir.Graph, block: list[ir.Node]) -> tuple[ir.Value, ir.Value]:
    """The one value that goes into the block and the one that comes out."""
    inside = set(block)
    sources = {
        value
        for node in block
        for value in node.inputs
        if value is not None and not value.is_initializer() and value.producer() not in inside
    }
    results = {
        output
        for node in block
        for output in node.outputs
        if output in graph.outputs or any(user not in inside for user, _ in output.uses())
    }
    if len(sources) != 1 or len(results) != 1:
        raise ExportError(
            f"{FIRST}: expected one value in and one out to repeat it, got "
            f"{sorted(str(v.name) for v in sources)} and {sorted(str(v.name) for v in results)}"
        )
    return sources.pop(), results.pop()


def _copied(graph: ir.Graph, node: ir.Node, values: dict[ir.Value, ir.Value], to: Scope, own: set[str]) -> ir.Node:
    """A copy of ``node`` for the block ``to``; its outputs are entered into ``values``."""

    def renamed(value: ir.Value | None) -> ir.Value | None:
        if value is None:
            return None
        if value in values:
            return values[value]
        name = str(value.name)
        if not value.is_initializer() or not FIRST.holds(name) or name not in own:
            return value
        name = Scope(name).moved(FIRST, to)
        if name not in graph.initializers:
            graph.initializers.add(
                ir.Value(name=name, type=value.type, shape=value.shape, const_value=value.const_value)
            )
        return graph.initializers[name]

    copy = ir.Node(
        node.domain,
        node.op_type,
        [renamed(value) for value in node.inputs],
        list(node.attributes.values()),
        num_outputs=len(node.outputs),
        overload=node.overload,
    )
    put_scope(copy, scope_of(node).moved(FIRST, to))
    for old, new in zip(node.outputs, copy.outputs, strict=True):
        new.type, new.shape = old.type, old.shape
        values[old] = new
    return copy


def _put_weights(graph: ir.Graph, parameters: dict[str, Tensor], names: dict[str, str]) -> None:
    """Real values for all constants; one constant for a tensor that several modules share."""
    for name in list(graph.initializers):
        if name not in parameters:
            continue
        value = graph.initializers[name]
        parameter = parameters[name].detach()
        if tuple(parameter.shape) != tuple(value.shape or ()):
            raise ExportError(f"{name}: expected shape {tuple(parameter.shape)}, got {value.shape} in the traced graph")
        if names[name] == name:
            value.const_value = _tensor(parameter, name)
    for name in list(graph.initializers):
        if name not in parameters or names[name] == name:
            continue
        shared = names[name]
        value = graph.initializers.pop(name)
        if shared not in graph.initializers:
            value.name = shared
            value.const_value = _tensor(parameters[shared].detach(), shared)
            graph.initializers.add(value)
        else:
            ir.convenience.replace_all_uses_with(value, graph.initializers[shared])
    unknown = [
        name
        for name, value in graph.initializers.items()
        if name not in parameters
        and value.dtype is not None
        and value.dtype.is_floating_point()
        and value.shape != ir.Shape([])
    ]
    if unknown:
        raise ExportError(
            f"constants {', '.join(unknown)}: computed by the converter from traced numbers, not from weights"
        )


def _tensor(constant: Tensor, name: str) -> ir.TensorProtocol:
    """Floating constants as float32, from whatever device the model is on."""
    wide = constant.float() if constant.is_floating_point() else constant
    return ir.tensor(wide.cpu().contiguous().numpy(), name=name)
