"""Nodes, attributes, inputs and outputs of a graph, otherwise than they were."""

from __future__ import annotations

from random import Random
from typing import Any

import onnx
from onnx import TensorProto, helper

from tests.integration.hostile.wild import FLOATS, INTEGERS_64, TEXTS

Model = Any
_OPERATORS = (
    "Add", "MatMul", "Cast", "Reshape", "Loop", "If", "Scan", "Identity", "Gather", "Concat", "Attention", "NoSuchOp",
    "Softmax", "Expand", "Einsum", "Split", "QuantizeLinear", "Optional", "SequenceConstruct", "RandomNormal",
    "StringNormalizer", "Det", "NonZero", "LSTM", "Conv", "Gemm", "Resize", "TopK", "Compress", "Unique", "",
)  # fmt: skip
_DOMAINS = ("", "ai.onnx", "com.microsoft", "ai.onnx.ml", "ftsf", "evil", "\x1b[2J")
_NAMES = ("", "nowhere", "clip", "logits", "\x1b[2J", "../x", "a" * 5000, "\u202e")
_TYPES = (0, 1, 2, 6, 7, 8, 9, 10, 11, 14, 16, 17, 22, 99, -1)


def _node(draw: Random, model: Model) -> Any:
    return draw.choice(model.graph.node) if model.graph.node else model.graph.node.add(op_type="Identity")


def operator(draw: Random, model: Model) -> str:
    node = _node(draw, model)
    before, node.op_type = node.op_type, draw.choice(_OPERATORS)
    return f"{before} becomes {node.op_type!r}"


def domain(draw: Random, model: Model) -> str:
    node = _node(draw, model)
    node.domain = draw.choice(_DOMAINS)
    return f"{node.op_type} of the domain {node.domain!r}"


def attribute(draw: Random, model: Model) -> str:
    """One attribute is gone, of another value or type, or there is one more."""
    nodes = [node for node in model.graph.node if node.attribute] or [_node(draw, model)]
    node = draw.choice(nodes)
    how = draw.choice(("gone", "value", "value", "type", "more", "twice"))
    if how == "more" or not node.attribute:
        name = draw.choice(("to", "axis", "perm", "evil", "body", "value", ""))
        node.attribute.append(helper.make_attribute(name or "x", draw.choice((1, 1.5, "text", [1, 2], [1.5]))))
        node.attribute[-1].name = name
        return f"{node.op_type}: an attribute {name!r} more"
    index = draw.randrange(len(node.attribute))
    one = node.attribute[index]
    if how == "gone":
        del node.attribute[index]
        return f"{node.op_type} without {one.name}"
    if how == "twice":
        node.attribute.add().CopyFrom(one)
        return f"{node.op_type}: {one.name} twice"
    if how == "type":
        one.type = draw.choice((0, 1, 2, 3, 4, 5, 6, 7, 10, 13, 14))
        return f"{node.op_type}: {one.name} of type {one.type}"
    return f"{node.op_type}: {one.name} = {_other_value(draw, one)}"


def _other_value(draw: Random, one: Any) -> str:
    if one.ints:
        place = draw.randrange(len(one.ints))
        one.ints[place] = draw.choice(INTEGERS_64)
        return f"{one.ints[place]} at {place}"
    if one.type == onnx.AttributeProto.FLOAT:
        one.f = draw.choice(FLOATS)
        return str(one.f)
    if one.type == onnx.AttributeProto.STRING:
        one.s = draw.choice((*(text.encode("utf-8", "replace") for text in TEXTS), b"\xff\xfe"))
        return ascii(one.s[:20])
    one.i = draw.choice((*INTEGERS_64, *range(-6, 6)))
    return str(one.i)


def gone(draw: Random, model: Model) -> str:
    if not model.graph.node:
        return "no node to take away"
    index = draw.randrange(len(model.graph.node))
    name = model.graph.node[index].op_type
    del model.graph.node[index]
    return f"without node {index} ({name})"


def twice(draw: Random, model: Model) -> str:
    node = _node(draw, model)
    model.graph.node.add().CopyFrom(node)
    if draw.random() < 0.5:
        model.graph.node[-1].name = "copy"
    return f"{node.op_type} twice, with one output"


def order(draw: Random, model: Model) -> str:
    nodes = list(model.graph.node)
    draw.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return "nodes in any order"


def edge(draw: Random, model: Model) -> str:
    """An input or output of a node leads elsewhere: nowhere, to itself, to a later node."""
    node = _node(draw, model)
    side = draw.choice(("input", "input", "output"))
    held = getattr(node, side)
    names = [
        *_NAMES,
        *node.output,
        *(name for other in draw.sample(list(model.graph.node), 1) for name in other.output),
    ]
    name = draw.choice(names)
    if not held or draw.random() < 0.2:
        held.append(name)
        return f"{node.op_type}: an {side} more, {name[:20]!r}"
    place = draw.randrange(len(held))
    if draw.random() < 0.2:
        del held[place]
        return f"{node.op_type} without its {side} {place}"
    held[place] = name
    return f"{node.op_type}: {side} {place} is {name[:20]!r}"


def value(draw: Random, model: Model) -> str:
    """What the graph takes and gives: types, sizes, names, how many."""
    side = draw.choice(("input", "output"))
    held = getattr(model.graph, side)
    how = draw.choice(("size", "size", "rank", "type", "name", "none", "twice", "sequence"))
    if not held or how == "none":
        del held[:]
        return f"no {side}"
    one = held[0]
    if how == "twice":
        held.add().CopyFrom(one)
    elif how == "name":
        one.name = draw.choice(_NAMES)
    elif how == "type":
        one.type.tensor_type.elem_type = draw.choice(_TYPES)
    elif how == "sequence":
        one.type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT
    elif how == "rank":
        del one.type.tensor_type.shape.dim[:1]
    else:
        size = draw.choice(one.type.tensor_type.shape.dim or [one.type.tensor_type.shape.dim.add()])
        size.dim_value = draw.choice(INTEGERS_64)
        return f"{side}: a size is {size.dim_value}"
    return f"{side}: {how}"


def versions(draw: Random, model: Model) -> str:
    how = draw.choice(("opset", "none", "twice", "domain", "format"))
    if how == "format":
        model.ir_version = draw.choice(INTEGERS_64)
        return f"ir_version {model.ir_version}"
    if how == "none":
        del model.opset_import[:]
        return "no opset"
    if how == "opset":
        model.opset_import[0].version = draw.choice((*INTEGERS_64, 7, 13, 17, 23, 24, 99))
        return f"opset {model.opset_import[0].version}"
    model.opset_import.add(domain="" if how == "twice" else draw.choice(_DOMAINS), version=draw.choice((1, 13, 25)))
    return f"an opset more ({how})"


def notes(draw: Random, model: Model) -> str:
    """Texts that no judgement reads, and names that messages repeat."""
    how = draw.choice(("doc_string", "producer", "metadata", "graph's name", "node's name", "node's metadata"))
    text = draw.choice(TEXTS).encode("utf-8", "replace").decode()
    if how == "doc_string":
        model.doc_string = text * draw.choice((1, 1000))
    elif how == "producer":
        model.producer_name = model.producer_version = text
    elif how == "metadata":
        model.metadata_props.add(key=text, value=text)
    elif how == "graph's name":
        model.graph.name = text
    elif how == "node's name":
        _node(draw, model).name = text
    else:
        _node(draw, model).metadata_props.add(key=text, value=text)
    return f"{how} {text[:20]!r}"


NODE_WAYS = (
    operator, operator, domain, attribute, attribute, attribute, gone, gone, twice, order, edge, edge, edge, value,
    value, versions, notes,
)  # fmt: skip
