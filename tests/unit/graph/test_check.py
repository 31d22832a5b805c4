"""Each promise has a graph that breaks it, and the message names the node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from ftsf_export.errors import ExportError
from ftsf_export.graph.check import check, check_file
from ftsf_export.graph.onnx_model import OnnxModel

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64


def info(name: str, kind: int = FLOAT, shape: list[Any] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [2] if shape is None else shape)


def proto(
    nodes: list[onnx.NodeProto],
    values: list[onnx.ValueInfoProto],
    *,
    constants: dict[str, np.ndarray] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
    input_kind: int = FLOAT,
) -> onnx.ModelProto:
    """clip (2,) -> nodes -> logits; ``values`` says what lies between them."""
    tensors = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(
        nodes, "crafted", [info("clip", input_kind)], [info("logits")], tensors, value_info=values
    )
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=10, functions=functions or [])


def wrapped(model: onnx.ModelProto) -> OnnxModel:
    return OnnxModel(model=ir.from_proto(model), precision="fp32", opset=20, taps=(), islands=(), rewrites=())


def node(op_type: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs, outputs, name=f"the/{op_type}", **attributes)


LAST = node("Identity", ["x"], ["logits"])


def branch(name: str) -> onnx.GraphProto:
    return helper.make_graph([helper.make_node("Identity", ["clip"], [name])], name, [], [info(name)])


def own_function() -> onnx.FunctionProto:
    return helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)]
    )


BROKEN: dict[str, tuple[str, Callable[[], onnx.ModelProto]]] = {
    "float64 inside": (
        r"the/Cast: float64",
        lambda: proto(
            [node("Cast", ["clip"], ["d"], to=DOUBLE), helper.make_node("Cast", ["d"], ["logits"], to=FLOAT)],
            [info("d", DOUBLE)],
        ),
    ),
    "float64 constant": (
        r"wide: float64",
        lambda: proto(
            [node("Cast", ["wide"], ["x"], to=FLOAT), LAST], [info("x")], constants={"wide": np.zeros(2, np.float64)}
        ),
    ),
    "float64 input": (
        r"clip: float64",
        lambda: proto([node("Cast", ["clip"], ["logits"], to=FLOAT)], [], input_kind=DOUBLE),
    ),
    "control flow": (
        r"the/If: no export has the operator If",
        lambda: proto(
            [node("If", ["yes"], ["logits"], then_branch=branch("then"), else_branch=branch("else"))],
            [],
            constants={"yes": np.asarray(True)},
        ),
    ),
    "a shape from values": (
        r"the/NonZero: no export has the operator NonZero",
        lambda: proto(
            [node("NonZero", ["clip"], ["i"]), helper.make_node("Cast", ["i"], ["logits"], to=FLOAT)],
            [info("i", INT64, [1, "n"])],
        ),
    ),
    "a shape read at run time": (
        r"the/Shape: no export has the operator Shape",
        lambda: proto(
            [node("Shape", ["clip"], ["s"]), helper.make_node("Reshape", ["clip", "s"], ["logits"])],
            [info("s", INT64, [1])],
        ),
    ),
    "an operator of somebody's": (
        r"the/Gelu: the operator own\.Gelu is not a standard one",
        lambda: proto([node("Gelu", ["clip"], ["x"], domain="own"), LAST], [info("x")]),
    ),
    "no shape": (
        r"the/Relu: output without a type or a shape",
        lambda: proto([node("Relu", ["clip"], ["x"]), LAST], []),
    ),
    "a function": (
        r"functions: .*Twice",
        lambda: proto(
            [helper.make_node("Identity", ["clip"], ["logits"], name="the/Identity")], [], functions=[own_function()]
        ),
    ),
}


def test_a_good_graph_passes() -> None:
    check(wrapped(proto([node("Relu", ["clip"], ["x"]), LAST], [info("x")])))


@pytest.mark.parametrize("promise", BROKEN)
def test_a_broken_promise_is_named(promise: str) -> None:
    message, make = BROKEN[promise]
    with pytest.raises(ExportError, match=rf"graph: 1 promises broken; first: .*{message}") as caught:
        check(wrapped(make()))
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4


def test_all_of_them_are_in_the_details() -> None:
    nodes = [node("Shape", ["clip"], ["s"]), node("Relu", ["clip"], ["x"]), LAST]
    with pytest.raises(ExportError, match="2 promises broken") as caught:
        check(wrapped(proto(nodes, [info("s", INT64, [1])])))
    assert caught.value.details.splitlines() == [
        "the/Shape: no export has the operator Shape",
        "the/Relu: output without a type or a shape",
    ]


def test_a_file_that_the_checker_accepts(tmp_path: Path) -> None:
    onnx.save(proto([node("Relu", ["clip"], ["x"]), LAST], [info("x")]), tmp_path / "model.onnx")
    check_file(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("nodes", "values"),
    [
        ([node("Relu", ["nobody"], ["logits"])], []),
        ([node("Nothing", ["clip"], ["logits"])], []),
        ([node("Relu", ["clip"], ["x"]), LAST], [info("x", FLOAT, [3])]),
        ([node("Cast", ["clip"], ["x"], to=TensorProto.FLOAT16), node("Add", ["x", "clip"], ["logits"])], []),
    ],
    ids=["no such value", "no such operator", "another shape", "two types"],
)
def test_a_file_that_the_checker_refuses(
    tmp_path: Path, nodes: list[onnx.NodeProto], values: list[onnx.ValueInfoProto]
) -> None:
    onnx.save(proto(nodes, values), tmp_path / "model.onnx")
    with pytest.raises(ExportError, match=r"model\.onnx: onnx\.checker refuses it: \S") as caught:
        check_file(tmp_path / "model.onnx")
    assert "\n" not in caught.value.message


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no protobuf at all")
    with pytest.raises(ExportError, match=r"model\.onnx: onnx\.checker refuses it"):
        check_file(tmp_path / "model.onnx")
