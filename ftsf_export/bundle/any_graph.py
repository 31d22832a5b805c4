"""What must be known of an ONNX file that no export of ours wrote, read from its bytes as they are hashed.

Such a file may hold any operator, graphs within graphs and functions; what it refers to outside of itself is looked at
before any library opens it, as in a bundle, and the limits of sizes and depths are the same. Of each node it is told
what it does and which module it belongs to, and which nodes are softmax attentions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ftsf_export.bundle.graph_content import ExternalData, GraphValue
from ftsf_export.bundle.graph_file import Walker
from ftsf_export.bundle.hashed import HashedReader
from ftsf_export.bundle.protobuf import CONTENT, UnreadableGraph
from ftsf_export.network.scope import Scope

_MAX_DEPTH, _MAX_NODES = 32, 200_000
# Where PyTorch's exporter writes the modules around a node: "['', 'encoder', 'encoder.layer.0', 'linear']".
_SCOPES_KEY = "pkg.torch.onnx.name_scopes"
_QUOTED = re.compile(r"'([^']*)'")
# What may stand between the two products of an attention and its softmax: scales, masks, casts, changes of the shape.
_BETWEEN = frozenset(
    [
        "Add",
        "Cast",
        "Div",
        "Dropout",
        "Expand",
        "Identity",
        "IsNaN",
        "Max",
        "Min",
        "Mul",
        "Pow",
        "Reshape",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)
_FARTHEST = 16  # Nodes between a softmax and a product.


@dataclass(frozen=True)
class GraphNode:
    """A node of the outermost graph."""

    name: str  #: As compilers call it.
    operation: str  #: Its operator.
    module: Scope  #: The module that it belongs to; the whole network where nothing tells.
    inputs: tuple[str, ...]  #: Names of the values that it reads.
    outputs: tuple[str, ...]  #: Names of the values that it makes.


@dataclass(frozen=True)
class AnyGraph:
    """What an ONNX file refers to, takes, gives and does."""

    external: tuple[ExternalData, ...]  #: Also of graphs within, functions and attributes.
    inputs: tuple[GraphValue, ...]  #: What a caller gives: not what has a value in the file.
    outputs: tuple[GraphValue, ...]  #: In file order.
    nodes: tuple[GraphNode, ...]  #: Of the outermost graph.
    #: Names of the nodes that are, or are the softmax of, an attention: between two products of values.
    attentions: tuple[str, ...]


def read_any_graph(reader: HashedReader) -> AnyGraph:
    """Reads a ModelProto from its first byte to its last. Raises UnreadableGraph, and CutShort of the reader."""
    walker = _Walker(reader)
    walker.model()
    return walker.found()


@dataclass
class _Walker(Walker):
    """Walks any ModelProto; of graphs within the graph, functions and training only what they refer to is kept."""

    nodes: list[GraphNode] = field(default_factory=list)
    constants: set[str] = field(default_factory=set)
    _depth: int = 0
    _count: int = 0

    def found(self) -> AnyGraph:
        return AnyGraph(
            external=tuple(self.external),
            inputs=tuple(one for one in self.inputs if one.name not in self.constants),
            outputs=tuple(self.outputs),
            nodes=tuple(self.nodes),
            attentions=tuple(_attentions(self.nodes, self.constants)),
        )

    def graph(self, end: int) -> None:
        """GraphProto."""
        if self._depth >= _MAX_DEPTH:
            raise UnreadableGraph(f"graphs within graphs, more than {_MAX_DEPTH} deep")
        outermost = self._depth == 0
        self._depth += 1
        for number, value in self.contents(end):
            if number == 1:
                self._node(value, keep=outermost)
            elif number == 5:
                name, _ = self.tensor(value)
                self.constants.update([name] if outermost else [])
            elif number == 15:
                self._sparse_tensor(value)
            elif number in (11, 12) and outermost:
                (self.inputs if number == 11 else self.outputs).append(self.value_info(value))
        self._depth -= 1

    def function(self, end: int) -> None:
        """FunctionProto."""
        for number, value in self.contents(end):
            if number == 7:
                self._node(value, keep=False)
            elif number == 11:
                self.attribute(value)

    def training(self, end: int) -> None:
        """TrainingInfoProto: two graphs that no compiler looks at."""
        self._depth += 1
        for number, value in self.contents(end):
            if number in (1, 2):
                self.graph(value)
        self._depth -= 1

    def attribute(self, end: int) -> tuple[int, bool]:
        """AttributeProto: tensors and graphs in it, and nothing more."""
        for number, value in self.contents(end):
            if number in (5, 10):
                self.tensor(value)
            elif number in (6, 11):
                self.graph(value)
            elif number in (22, 23):
                self._sparse_tensor(value)
        return 0, False

    def _node(self, end: int, *, keep: bool) -> None:
        self._count += 1
        if self._count > _MAX_NODES:
            raise UnreadableGraph(f"more than {_MAX_NODES} nodes")
        inputs, outputs, name, operation, scopes = [], [], "", "", ""
        for number, value in self.contents(end):
            if number == 1:
                inputs.append(self.text(value))
            elif number == 2:
                outputs.append(self.text(value))
            elif number == 3:
                name = self.text(value)
            elif number == 4:
                operation = self.text(value)
            elif number == 5:
                self.attribute(value)
            elif number == 9:
                scopes = self._scopes(value) or scopes
        if keep:
            name = name or f"node_of_{next(iter(outputs), '')}"
            self.nodes.append(GraphNode(name, operation, module_of(name, scopes), tuple(inputs), tuple(outputs)))
            self.constants.update(outputs if operation == "Constant" else [])

    def _scopes(self, end: int) -> str:
        """StringStringEntryProto of a node: its value, if it tells the modules around the node."""
        wanted = False
        for number, value in self.contents(end):
            if number == 1:
                wanted = self.text(value) == _SCOPES_KEY
            elif number == 2 and wanted:
                return self.text(value)
        return ""

    def _sparse_tensor(self, end: int) -> None:
        for number, kind, value in self.fields(end):
            if kind == CONTENT and number in (1, 2):
                self.tensor(value)

    def _typed(self, name: str, element: int) -> None:
        """Types are the compiler's to judge."""


def module_of(name: str, scopes: str = "") -> Scope:
    """The module of a node: by what PyTorch's exporter notes of it, else by a path in its name.

    ``/encoder/layer.0/MatMul_1`` is of ``encoder.layer.0``, as PyTorch's older exporter names it.
    """
    if noted := _QUOTED.findall(scopes):
        return Scope(noted[-2]) if len(noted) > 1 else Scope()
    *above, _ = [part for part in name.split("/") if part] or [""]
    return Scope(".".join(above))


def _attentions(nodes: Iterable[GraphNode], constants: set[str]) -> Iterable[str]:
    nodes = tuple(nodes)
    made_by = {value: node for node in nodes for value in node.outputs if value}
    read_by: dict[str, list[GraphNode]] = {}
    for node in nodes:
        for value in node.inputs:
            read_by.setdefault(value, []).append(node)

    def is_product(node: GraphNode) -> bool:
        return node.operation in ("MatMul", "Einsum") and not constants.intersection(node.inputs)

    def before(node: GraphNode) -> list[GraphNode]:
        return [made_by[value] for value in node.inputs if value in made_by]

    def after(node: GraphNode) -> list[GraphNode]:
        return [reader for value in node.outputs for reader in read_by.get(value, [])]

    for node in nodes:
        if node.operation == "Attention" or (
            node.operation == "Softmax" and _meets(node, before, is_product) and _meets(node, after, is_product)
        ):
            yield node.name


def _meets(
    start: GraphNode, ahead: Callable[[GraphNode], list[GraphNode]], wanted: Callable[[GraphNode], bool]
) -> bool:
    """Whether a wanted node comes ``ahead`` of ``start`` with nothing but scales, masks and the like on the way."""
    seen: dict[str, GraphNode] = {}
    front = ahead(start)
    while front and len(seen) < _FARTHEST:
        if any(map(wanted, front)):
            return True
        seen.update({node.name: node for node in front})
        passed = [node for node in front if node.operation in _BETWEEN]
        front = [node for one in passed for node in ahead(one) if node.name not in seen]
    return False


def shapes_of(
    graph: AnyGraph, asked: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """A shape for each input, and what is wrong with those that were ``asked``.

    A first dimension that is not fixed is 1 where nothing was asked of its input; any other has to be.
    """
    shapes, problems = {}, []
    known = {one.name: one.shape for one in graph.inputs}
    problems += [f"shape: {name!r}: the inputs are {', '.join(known)}" for name in asked if name not in known]
    for name, shape in known.items():
        given = asked.get(name, tuple(1 if size is None and not place else size for place, size in enumerate(shape)))
        said = "x".join("?" if size is None else str(size) for size in shape)
        fits = len(given) == len(shape) and all(has in (None, one) for has, one in zip(shape, given, strict=True))
        if name in asked and not fits:
            problems.append(f"shape: {name}: the file has {said or 'a single number'}, got {'x'.join(map(str, given))}")
        elif any(size is None for size in given):
            problems.append(f"shape: {name}: its sizes are {said}; give them with --shape {name}:{said}")
        else:
            shapes[name] = tuple(size for size in given if size is not None)
    return shapes, tuple(problems)
