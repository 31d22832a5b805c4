"""What must be known of an ONNX file before anything opens it, read from its bytes as they are hashed.

The machine that reads a bundle may have no onnx package, and no library may follow a file's references, or work off its
nodes, before they were looked at. So the messages of onnx.proto are walked here: where external data lies, of which
types the operands of products are, what goes in and comes out. Where protobuf lets a later field replace an earlier
one, both count here. What no export writes is refused: nodes and functions other than ours, a graph within the graph,
sparse tensors, a name that stands for two values.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ftsf_export.bundle.graph_content import ExternalData, GraphContent, GraphValue, ProductNode
from ftsf_export.bundle.hashed import HashedReader
from ftsf_export.bundle.protobuf import CONTENT, VARINT, UnreadableGraph, Wire
from ftsf_export.network.operators import PLUGIN_DOMAIN, STANDARD_DOMAINS, operator_problem

# With every call of a function counted as the function's nodes: twice the largest graph that is traced.
_MAX_NODES = 100_000
# Nodes that multiply, and how many of their inputs are operands of the product.
_OPERANDS = {"MatMul": 2, "Gemm": 2, "Conv": 2, "ConvTranspose": 2, "Einsum": 2, "Attention": 3}
# onnx.proto, TensorProto.DataType.
_TYPES = {
    1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "FLOAT16", 11: "DOUBLE",
    16: "BFLOAT16", 17: "FLOAT8E4M3FN", 19: "FLOAT8E5M2", 21: "UINT4", 22: "INT4",
}  # fmt: skip
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTION = 7, 20, 25


class ForeignGraph(ValueError):
    """An ONNX file that holds what no export writes."""


def read_graph(reader: HashedReader) -> GraphContent:
    """Reads a ModelProto from its first byte to its last.

    Raises UnreadableGraph for what is none, ForeignGraph for one that no export writes, and CutShort of the reader.
    """
    walker = Walker(reader)
    walker.model()
    return walker.content()


@dataclass
class Walker(Wire):
    """Walks the messages below a ModelProto, one method a message."""

    external: list[ExternalData] = field(default_factory=list)
    inputs: list[GraphValue] = field(default_factory=list)
    outputs: list[GraphValue] = field(default_factory=list)
    _types: dict[str, int] = field(default_factory=dict)
    _products: list[tuple[str, list[str]]] = field(default_factory=list)
    _scaled: dict[str, str] = field(default_factory=dict)  # What a DequantizeLinear gives -> what it reads.
    _rounded: dict[str, str] = field(default_factory=dict)  # What a QuantizeLinear gives -> its zero point.
    _calls: Counter[str] = field(default_factory=Counter)
    _functions: dict[str, int] = field(default_factory=dict)
    _nodes: int = 0

    def model(self) -> None:
        """ModelProto: one graph, functions, training."""
        graphs = 0
        for number, value in self.contents(self.reader.size):
            if number == _MODEL_GRAPH:
                graphs += 1
                self.graph(value)
            elif number == _MODEL_FUNCTION:
                self.function(value)
            elif number == _MODEL_TRAINING:
                self.training(value)
        if graphs != 1:
            raise UnreadableGraph(f"expected one graph, found {graphs}")

    def training(self, _end: int) -> None:
        raise ForeignGraph("it holds graphs for training")

    def content(self) -> GraphContent:
        if unknown := [name for name in self._calls if name not in self._functions]:
            raise ForeignGraph(f"the operator {PLUGIN_DOMAIN}.{unknown[0]} has no function in the file")
        nodes = self._nodes + sum(count * self._functions[name] for name, count in self._calls.items())
        if nodes > _MAX_NODES:
            raise ForeignGraph(
                f"{nodes} nodes with those of the functions that it calls; at most {_MAX_NODES} are read"
            )
        known = {name: _TYPES.get(number, str(number)) for name, number in self._types.items()}
        for name, zero in self._rounded.items():
            # A QuantizeLinear gives its zero point's type, whatever is said of the value beside.
            made = known.get(zero, "")
            if known.setdefault(name, made) != made:
                raise UnreadableGraph(f"the value {name[:200]!r} has two types")
        products = (
            ProductNode(name, tuple(known.get(self._scaled.get(i, i), "") for i in inputs))
            for name, inputs in self._products
        )
        return GraphContent(tuple(self.external), tuple(products), tuple(self.inputs), tuple(self.outputs), nodes)

    def graph(self, end: int) -> None:
        """GraphProto: nodes, initializers, inputs, outputs, and the types of values."""
        names: set[str] = set()
        given: set[str] = set()
        for number, value in self.contents(end):
            if number == 1:
                self.node(value, names)
            elif number == 5:
                name, element = self.tensor(value)
                _make(names, name)
                self._typed(name, element)
            elif number == 11:
                self.inputs.append(self.value_info(value))
                _make(names, self.inputs[-1].name)
            elif number == 12:
                self.outputs.append(self.value_info(value))
                _make(given, self.outputs[-1].name)
            elif number == 13:
                self.value_info(value)
            elif number == 15:
                raise ForeignGraph("it holds a sparse tensor")

    def function(self, end: int) -> None:
        """FunctionProto: its nodes, and the defaults of its attributes. Its values are its own, so none is kept."""
        types, products, calls, nodes = self._types, self._products, self._calls, self._nodes
        self._types, self._products, self._calls, self._nodes = {}, [], Counter(), 0
        names: set[str] = set()
        name = domain = ""
        for number, value in self.contents(end):
            if number == 1:
                name = self.text(value)
            elif number == 4:
                _make(names, self.text(value))
            elif number == 7:
                self.node(value, names)
            elif number == 10:
                domain = self.text(value)
            elif number == 11:
                self.attribute(value)
            elif number == 13:
                self._without_overload(value)
        if domain != PLUGIN_DOMAIN or name in self._functions:
            raise ForeignGraph(f"the function {domain[:200]}.{name[:200]} is none of an export's, or is there twice")
        if self._calls:
            raise ForeignGraph(f"the function {name[:200]!r} calls a function")
        self._functions[name] = self._nodes
        self._types, self._products, self._calls, self._nodes = types, products, calls, nodes

    def node(self, end: int, names: set[str]) -> None:
        """NodeProto."""
        inputs, outputs, made, refers = [], [], 0, False
        said = {3: "", 4: "", 7: ""}
        for number, value in self.contents(end):
            if number == 1:
                inputs.append(self.text(value))
            elif number == 2:
                outputs.append(self.text(value))
                _make(names, outputs[-1])
            elif number in said:
                said[number] = self.text(value)
            elif number == 5:
                element, reference = self.attribute(value)
                made, refers = element or made, refers or reference
            elif number == 8:
                self._without_overload(value)
        name, operation, domain = said.values()
        name = name or ", ".join(outputs)
        if problem := operator_problem(domain, operation):
            raise ForeignGraph(f"the node {name[:200]!r}: {problem[:200]}")
        self._nodes += 1
        if domain not in STANDARD_DOMAINS:
            self._calls[operation] += 1
        elif operation == "Cast" and not (made or refers):
            raise ForeignGraph(f"the node {name[:200]!r}: a Cast that does not say to which type")
        elif operation == "DequantizeLinear" and inputs and outputs:
            self._scaled[outputs[0]] = inputs[0]
        elif operation == "QuantizeLinear" and outputs:
            self._rounded[outputs[0]] = inputs[2] if len(inputs) > 2 else ""
        elif operation in _OPERANDS:
            self._products.append((name, inputs[: _OPERANDS[operation]]))
        if operation in ("Cast", "Constant") and made and outputs:
            self._typed(outputs[0], made)

    def attribute(self, end: int) -> tuple[int, bool]:
        """AttributeProto: the element type that it gives a Cast (``to``) or a Constant (its tensor), 0 for none; and
        whether it stands for one of the function that it is in."""
        name, number_given, made, refers = "", 0, 0, False
        for number, kind, value in self.fields(end):
            if kind == VARINT and number == 3:
                number_given = value
            elif kind != CONTENT:
                continue
            elif number == 1:
                name = self.text(value)
            elif number in (5, 10):
                made = self.tensor(value)[1]
            elif number in (6, 11):
                raise ForeignGraph("it holds a graph within the graph")
            elif number == 21:
                refers = True
            elif number in (22, 23):
                raise ForeignGraph("it holds a sparse tensor")
        return (number_given if name == "to" else made), refers

    def tensor(self, end: int) -> tuple[str, int]:
        """TensorProto; its name and element type. External data counts whatever ``data_location`` says."""
        name, element, entries = "", 0, []
        for number, kind, value in self.fields(end):
            if kind == VARINT and number == 2:
                element = value
            elif kind == CONTENT and number == 8:
                name = self.text(value)
            elif kind == CONTENT and number == 13:
                entries.append(self._entry(value))
        if entries:
            self.external.append(_external(name, entries))
        return name, element

    def value_info(self, end: int) -> GraphValue:
        """ValueInfoProto: name, and through TypeProto and TypeProto.Tensor the element type and the shape."""
        name, element = "", 0
        shape: list[int | None] = []
        for number, value in self.contents(end):
            if number == 1:
                name = self.text(value)
            elif number == 2:
                for inner, stop in self.contents(value):
                    if inner == 1:
                        # Protobuf joins the shapes of a type that stands twice.
                        made, sizes = self._tensor_type(stop)
                        element, shape = made or element, shape + sizes
        self._typed(name, element)
        return GraphValue(name, _TYPES.get(element, str(element)), tuple(shape))

    def _tensor_type(self, end: int) -> tuple[int, list[int | None]]:
        """TypeProto.Tensor: the element type, and of each dimension its size."""
        element = 0
        shape: list[int | None] = []
        for number, kind, value in self.fields(end):
            if kind == VARINT and number == 1:
                element = value
            elif kind == CONTENT and number == 2:
                for inner, stop in self.contents(value):
                    # A size, or the name of one that is not fixed.
                    said = [one if is_ == VARINT else None for number, is_, one in self.fields(stop) if number < 3]
                    shape += [said[-1] if said else None] if inner == 1 else []
        return element, shape

    def _entry(self, end: int) -> tuple[str, str]:
        """StringStringEntryProto."""
        found: dict[int, str] = {}
        for number, value in self.contents(end):
            if number in (1, 2):
                if number in found:
                    raise UnreadableGraph("external data: an entry with two keys or two values")
                found[number] = self.text(value)
        return found.get(1, ""), found.get(2, "")

    def _typed(self, name: str, element: int) -> None:
        if name and element and self._types.setdefault(name, element) != element:
            raise UnreadableGraph(f"the value {name[:200]!r} has two types")

    def _without_overload(self, stop: int) -> None:
        if self.text(stop):
            raise ForeignGraph("it holds a function that shares its name with another (an overload)")


def _make(names: set[str], name: str) -> None:
    """``name`` joins the values that one graph, or one function, makes: each of another name."""
    if name in names:
        raise ForeignGraph(f"the value {name[:200]!r} is made twice")
    # An output that a node leaves out has no name.
    if name:
        names.add(name)


def _external(tensor: str, entries: list[tuple[str, str]]) -> ExternalData:
    """One tensor's entries. Raises UnreadableGraph for a key that stands twice, and for a number that is none."""
    found = dict(entries)
    if len(found) != len(entries):
        raise UnreadableGraph(f"external data of {tensor!r}: a key stands twice")
    if not found.get("location"):
        raise UnreadableGraph(f"external data of {tensor!r}: no location")
    numbers = {key: found[key] for key in ("offset", "length") if key in found}
    for key, text in numbers.items():
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise UnreadableGraph(f"external data of {tensor!r}: {key} {text[:20]!r} is no number of bytes")
    length = int(numbers["length"]) if "length" in numbers else None
    return ExternalData(tensor, found["location"], int(numbers.get("offset", "0")), length)
