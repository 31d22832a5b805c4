"""Work and memory without end: loops, functions within functions, subgraphs, tensors of any size."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

Model = Any


def _joined_to_output(model: Model, scalar: str) -> None:
    """Adds ``scalar`` (float32, of one number) to the output, so that no optimizer leaves the work out."""
    if not model.graph.output:
        return
    name = model.graph.output[0].name
    for node in model.graph.node:
        for place, output in enumerate(node.output):
            if output == name:
                node.output[place] = "logits_before"
    model.graph.node.append(helper.make_node("Add", ["logits_before", scalar], [name], name="head/joined"))


def _constant(model: Model, name: str, values: Any) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def loop(draw: Random, model: Model) -> str:
    """A ``Loop`` of 2^62 turns that adds one, and does so again within itself or not."""
    one = helper.make_node("Constant", [], ["one"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0]))
    body = helper.make_graph(
        [one, helper.make_node("Add", ["x", "one"], ["x_out"]), helper.make_node("Identity", ["go"], ["go_out"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x_out", TensorProto.FLOAT, [1]),
        ],
    )
    turns = draw.choice((3, 2**62))
    inputs = [_constant(model, "turns", np.int64(turns)), _constant(model, "go_on", np.bool_(True))]
    start = _constant(model, "start", np.zeros(1, np.float32))
    model.graph.node.append(helper.make_node("Loop", [*inputs, start], ["looped"], name="head/loop", body=body))
    _joined_to_output(model, "looped")
    return f"a loop of {turns} turns"


def branches(draw: Random, model: Model) -> str:
    """An ``If`` within an ``If``, as deep as asked."""
    # Deeper ones protobuf itself does not write.
    depth = draw.choice((1, 10, 20, 30))
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["b0"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.0]))],
        "g0", [], [helper.make_tensor_value_info("b0", TensorProto.FLOAT, [1])],
    )  # fmt: skip
    for level in range(1, depth):
        # Both branches double the file: further down there is one.
        both = {"then_branch": inner, "else_branch": inner} if level < 8 else {"then_branch": inner}
        node = helper.make_node("If", ["yes"], [f"b{level}"], **both)
        outputs = [helper.make_tensor_value_info(f"b{level}", TensorProto.FLOAT, [1])]
        inner = helper.make_graph([node], f"g{level}", [], outputs)
    _constant(model, "yes", np.bool_(True))
    node = helper.make_node("If", ["yes"], ["chosen"], name="head/if", then_branch=inner, else_branch=inner)
    model.graph.node.append(node)
    _joined_to_output(model, "chosen")
    return f"branches {depth} deep"


def functions(draw: Random, model: Model) -> str:
    """Functions that call themselves, each other, or the next one twice; or that take the name of an operator."""
    how = draw.choice(("itself", "each other", "2^6 calls", "2^28 calls", "shadow", "no body", "unused", "twice"))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("evil", 1)]

    def add(name: str, nodes: list[Any], domain: str = "evil") -> None:
        model.functions.append(helper.make_function(domain, name, ["x"], ["y"], nodes, opsets))

    def call(name: str, source: str, target: str) -> Any:
        return helper.make_node(name, [source], [target], domain="evil")

    first = "F0"
    if how == "itself":
        add("F0", [call("F0", "x", "y")])
    elif how == "each other":
        add("F0", [call("F1", "x", "y")])
        add("F1", [call("F0", "x", "y")])
    elif how in ("no body", "unused", "twice"):
        for _ in range(2 if how == "twice" else 1):
            add("F0", [] if how == "no body" else [helper.make_node("Identity", ["x"], ["y"])])
    elif how == "shadow":
        model.functions.append(
            helper.make_function("", "Gelu", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], opsets[:1])
        )
    else:
        depth = 6 if how == "2^6 calls" else 28
        for level in range(depth):
            add(f"F{level}", [call(f"F{level + 1}", "x", "h"), call(f"F{level + 1}", "h", "y")])
        add(f"F{depth}", [helper.make_node("Identity", ["x"], ["y"])])
    model.opset_import.append(opsets[1])
    if how not in ("shadow", "unused"):
        model.graph.node.append(call(first, _constant(model, "seed", np.zeros(1, np.float32)), "called"))
        _joined_to_output(model, "called")
    return f"functions: {how}"


def memory(draw: Random, model: Model) -> str:
    """A tensor that an operator makes out of a few bytes."""
    size = draw.choice((10**6, 3 * 10**9, 10**12, 2**62))
    how = draw.choice(("ConstantOfShape", "Expand", "Tile", "Range", "OneHot"))
    shape = _constant(model, "shape", np.asarray([size], np.int64))
    zero = _constant(model, "zero", np.zeros(1, np.float32))
    scalar = [_constant(model, name, np.float32(value)) for name, value in (("from", 0), ("to", size), ("by", 1))]
    count = _constant(model, "count", np.int64(size))
    pair, index = _constant(model, "pair", np.zeros(2, np.float32)), _constant(model, "index", np.zeros(1, np.int64))
    inputs = {
        "ConstantOfShape": [shape], "Expand": [zero, shape], "Tile": [zero, shape], "Range": scalar,
        "OneHot": [index, count, pair],
    }[how]  # fmt: skip
    model.graph.node.append(helper.make_node(how, inputs, ["large"], name="head/large"))
    model.graph.node.append(helper.make_node("ReduceMax", ["large"], ["larger"], name="head/max", keepdims=0))
    _joined_to_output(model, "larger")
    return f"{how} makes {size} numbers"


def nodes(draw: Random, model: Model) -> str:
    """Very many nodes that do nothing."""
    count = draw.choice((1000, 30_000, 200_000))
    start = _constant(model, "n0", np.zeros(1, np.float32))
    made = [helper.make_node("Identity", [start if k == 0 else f"n{k}"], [f"n{k + 1}"]) for k in range(count)]
    model.graph.node.extend(made)
    _joined_to_output(model, f"n{count}")
    return f"{count} nodes more"


def products(draw: Random, model: Model) -> str:
    """A product of matrices that takes minutes."""
    side = draw.choice((64, 30_000))
    shape = _constant(model, "side", np.asarray([side, side], np.int64))
    made, last = [helper.make_node("ConstantOfShape", [shape], ["m0"], name="head/m0")], "m0"
    for k in range(4):
        made.append(helper.make_node("MatMul", [last, "m0"], [f"m{k + 1}"], name=f"head/m{k + 1}"))
        last = f"m{k + 1}"
    made.append(helper.make_node("ReduceMax", [last], ["most"], name="head/most", keepdims=0))
    model.graph.node.extend(made)
    _joined_to_output(model, "most")
    return f"products of {side} x {side}"


WORK_WAYS = (loop, branches, functions, functions, memory, memory, nodes, products)
