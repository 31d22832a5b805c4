"""What is known of an ONNX file once it was read, as values."""

from __future__ import annotations

from dataclasses import dataclass


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
    #: Element types of its operands by their ONNX names, of one that a DequantizeLinear gives the type that it reads;
    #: "" where the file does not tell it.
    types: tuple[str, ...]


@dataclass(frozen=True)
class GraphValue:
    """An input or an output of the graph."""

    name: str  #: The tensor's.
    element: str  #: Its element type by its ONNX name.
    shape: tuple[int | None, ...]  #: A size for each dimension; None for one that is not fixed.


@dataclass(frozen=True)
class GraphContent:
    """What an ONNX file refers to and multiplies, and what goes in and out."""

    external: tuple[ExternalData, ...]  #: Also of functions and attributes, in file order.
    products: tuple[ProductNode, ...]  #: Of the graph; a function's values have no types.
    inputs: tuple[GraphValue, ...]  #: In file order.
    outputs: tuple[GraphValue, ...]  #: In file order.
    nodes: int  #: How many there are, with every call of a function counted as the function's nodes.
