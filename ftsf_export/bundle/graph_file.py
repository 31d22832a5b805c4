"""What must be known of an ONNX file before anything opens it, read from its bytes as they are hashed.

The machine that reads a bundle may have no onnx package, and no library may follow a file's references before they were
looked at. So the messages of onnx.proto are walked here as protobuf's encoding has them (protobuf.dev, "Encoding"):
where external data lies, and of which types the operands of products are. Where protobuf lets a later field replace an
earlier one, both count here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ftsf_export.bundle.hashed import HashedReader

# Far above a network of a hundred blocks; below what a reader would be busy with for long.
_MAX_FIELDS, _MAX_DEPTH, _MAX_NAME_BYTES = 500_000, 32, 1 << 16
_VARINT, _EIGHT_BYTES, _CONTENT, _FOUR_BYTES = 0, 1, 2, 5
# Nodes that multiply, and how many of their inputs are operands of the product.
_OPERANDS = {"MatMul": 2, "Gemm": 2, "Conv": 2, "ConvTranspose": 2, "Einsum": 2, "Attention": 3}
# onnx.proto, TensorProto.DataType.
_TYPES = {
    1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "FLOAT16", 11: "DOUBLE",
    16: "BFLOAT16", 17: "FLOAT8E4M3FN", 19: "FLOAT8E5M2", 21: "UINT4", 22: "INT4",
}  # fmt: skip
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTION = 7, 20, 25


class UnreadableGraph(ValueError):
    """The bytes are no ONNX file, or one beyond every size of ours."""


@dataclass(frozen=True)
class ExternalData:
    """Where the values of a tensor lie, as the file says."""

    tensor: str  #: The tensor's name; "" where it has none.
    location: str  #: A path beside the file.
    offset: int  #: In bytes, from the start of that file.
    length: int | None  #: In bytes; None: to the end of that file.


@dataclass(frozen=True)
class ProductNode:
    """A node that multiplies."""

    name: str  #: Of the node.
    types: tuple[str, ...]  #: Element types of its operands by their ONNX names, as far as the file tells them.


@dataclass(frozen=True)
class GraphContent:
    """What an ONNX file refers to and multiplies."""

    external: tuple[ExternalData, ...]  #: Also of subgraphs, functions and attributes, in file order.
    products: tuple[ProductNode, ...]  #: Of the graph and its subgraphs; a function's values have no types.


def read_graph(reader: HashedReader) -> GraphContent:
    """Reads a ModelProto from its first byte to its last. Raises UnreadableGraph, and CutShort of the reader."""
    walker = _Walker(reader)
    graphs = 0
    for number, kind, value in walker.fields(reader.size):
        if kind != _CONTENT:
            continue
        if number == _MODEL_GRAPH:
            graphs += 1
            walker.graph(value, depth=1)
        elif number == _MODEL_FUNCTION:
            walker.function(value)
        elif number == _MODEL_TRAINING:
            walker.training(value)
    if graphs != 1:
        raise UnreadableGraph(f"expected one graph, found {graphs}")
    return GraphContent(tuple(walker.external), walker.products())


@dataclass
class _Walker:
    """Walks the messages below a ModelProto, one method a message; ``end`` is where its bytes end."""

    reader: HashedReader
    external: list[ExternalData] = field(default_factory=list)
    _types: dict[str, int] = field(default_factory=dict)
    _nodes: list[tuple[str, list[str]]] = field(default_factory=list)
    _seen: int = 0

    def products(self) -> tuple[ProductNode, ...]:
        known = {name: _TYPES.get(number, str(number)) for name, number in self._types.items()}
        return tuple(ProductNode(name, tuple(known[i] for i in inputs if i in known)) for name, inputs in self._nodes)

    def fields(self, end: int) -> Iterator[tuple[int, int, int]]:
        """Number, wire type and value of each field up to ``end``; the value of content is where it ends, and what its
        taker leaves of it is skipped."""
        while self.reader.at < end:
            self._seen += 1
            if self._seen > _MAX_FIELDS:
                raise UnreadableGraph(f"more than {_MAX_FIELDS} fields")
            key = self._varint()
            number, kind = key >> 3, key & 7
            if not 0 < number < 1 << 29:
                raise UnreadableGraph(f"field number {number} before byte {self.reader.at}")
            if kind == _VARINT:
                yield number, kind, self._varint()
            elif kind == _CONTENT:
                size = self._varint()
                stop = self._within(size, end)
                yield number, kind, stop
                self.reader.skip(stop - self.reader.at)
            elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
                self.reader.skip(self._within(8 if kind == _EIGHT_BYTES else 4, end) - self.reader.at)
            else:
                raise UnreadableGraph(f"wire type {kind} before byte {self.reader.at}")
        if self.reader.at > end:
            raise UnreadableGraph(f"a field reaches over the end of its message at byte {end}")

    def graph(self, end: int, depth: int) -> None:
        """GraphProto: nodes, initializers (dense and sparse), and the types of values."""
        if depth > _MAX_DEPTH:
            raise UnreadableGraph(f"graphs within graphs, more than {_MAX_DEPTH} deep")
        for number, kind, value in self.fields(end):
            if kind != _CONTENT:
                continue
            if number == 1:
                self.node(value, depth)
            elif number == 5:
                self._typed(*self.tensor(value))
            elif number == 15:
                self.sparse_tensor(value)
            elif number in (11, 12, 13):
                self.value_info(value)

    def function(self, end: int) -> None:
        """FunctionProto: its nodes, and the defaults of its attributes. Its values are its own, so none is kept."""
        outer, self._types = self._types, {}
        kept = len(self._nodes)
        for number, kind, value in self.fields(end):
            if kind == _CONTENT and number == 7:
                self.node(value, 1)
            elif kind == _CONTENT and number == 11:
                self.attribute(value, 1)
        self._types = outer
        del self._nodes[kept:]

    def training(self, end: int) -> None:
        """TrainingInfoProto: two graphs that no runtime of ours runs; their data is looked at all the same."""
        for number, kind, value in self.fields(end):
            if kind == _CONTENT and number in (1, 2):
                self.graph(value, 1)

    def node(self, end: int, depth: int) -> None:
        """NodeProto."""
        inputs, outputs, name, operation, made = [], [], "", "", 0
        for number, kind, value in self.fields(end):
            if kind != _CONTENT:
                continue
            if number == 1:
                inputs.append(self._text(value))
            elif number == 2:
                outputs.append(self._text(value))
            elif number == 3:
                name = self._text(value)
            elif number == 4:
                operation = self._text(value)
            elif number == 5:
                made = self.attribute(value, depth) or made
        if operation in _OPERANDS:
            self._nodes.append((name or ", ".join(outputs), inputs[: _OPERANDS[operation]]))
        if operation in ("Cast", "Constant") and made and outputs:
            self._typed(outputs[0], made)

    def attribute(self, end: int, depth: int) -> int:
        """AttributeProto; the element type that it gives a Cast (``to``) or a Constant (its tensor), 0 for none."""
        name, number_given, made = "", 0, 0
        for number, kind, value in self.fields(end):
            if kind == _VARINT and number == 3:
                number_given = value
            elif kind != _CONTENT:
                continue
            elif number == 1:
                name = self._text(value)
            elif number in (5, 10):
                made = self.tensor(value)[1]
            elif number in (6, 11):
                self.graph(value, depth + 1)
            elif number in (22, 23):
                self.sparse_tensor(value)
        return number_given if name == "to" else made

    def tensor(self, end: int) -> tuple[str, int]:
        """TensorProto; its name and element type. External data counts whatever ``data_location`` says."""
        name, element, entries = "", 0, []
        for number, kind, value in self.fields(end):
            if kind == _VARINT and number == 2:
                element = value
            elif kind == _CONTENT and number == 8:
                name = self._text(value)
            elif kind == _CONTENT and number == 13:
                entries.append(self._entry(value))
        if entries:
            self.external.append(_external(name, entries))
        return name, element

    def sparse_tensor(self, end: int) -> None:
        """SparseTensorProto: values and indices are tensors."""
        for number, kind, value in self.fields(end):
            if kind == _CONTENT and number in (1, 2):
                self.tensor(value)

    def value_info(self, end: int) -> None:
        """ValueInfoProto: name, and through TypeProto and TypeProto.Tensor the element type."""
        name, element = "", 0
        for number, kind, value in self.fields(end):
            if kind == _CONTENT and number == 1:
                name = self._text(value)
            elif kind == _CONTENT and number == 2:
                for inner, inner_kind, stop in self.fields(value):
                    if inner_kind == _CONTENT and inner == 1:
                        types = [v for n, k, v in self.fields(stop) if k == _VARINT and n == 1]
                        element = types[-1] if types else element
        self._typed(name, element)

    def _entry(self, end: int) -> tuple[str, str]:
        """StringStringEntryProto."""
        found: dict[int, str] = {}
        for number, kind, value in self.fields(end):
            if kind == _CONTENT and number in (1, 2):
                if number in found:
                    raise UnreadableGraph("external data: an entry with two keys or two values")
                found[number] = self._text(value)
        return found.get(1, ""), found.get(2, "")

    def _typed(self, name: str, element: int) -> None:
        if name and element and self._types.setdefault(name, element) != element:
            raise UnreadableGraph(f"the value {name!r} has two types")

    def _within(self, size: int, end: int) -> int:
        stop = self.reader.at + size
        if stop > end:
            raise UnreadableGraph(f"a field of {size} bytes at byte {self.reader.at} reaches over its message's end")
        return stop

    def _text(self, stop: int) -> str:
        size = stop - self.reader.at
        if size > _MAX_NAME_BYTES:
            raise UnreadableGraph(f"a name of {size} bytes at byte {self.reader.at}")
        try:
            return self.reader.take(size).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableGraph(f"a name before byte {stop} is not UTF-8") from error

    def _varint(self) -> int:
        """Groups of seven bits, the lowest first; at most ten of them, for 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.reader.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise UnreadableGraph(f"a number of more than 64 bits before byte {self.reader.at}")


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
