"""Graphs that are none: each is refused in one line, whatever onnx-ir raises."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from ftsf_export.errors import RunError
from ftsf_export.graph.emulate import emulate

FLOAT16 = onnx.TensorProto.FLOAT16
OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]


def recursive() -> tuple[list[onnx.NodeProto], list[onnx.FunctionProto]]:
    call = helper.make_node("again", ["x"], ["y"], domain="local")
    return [call], [helper.make_function("local", "again", ["x"], ["y"], [call], OPSETS)]


def cast_to_nothing() -> tuple[list[onnx.NodeProto], list[onnx.FunctionProto]]:
    return [helper.make_node("Cast", ["x"], ["y"])], []


def made_twice() -> tuple[list[onnx.NodeProto], list[onnx.FunctionProto]]:
    return [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["y"])], []


@pytest.mark.parametrize("fault", [recursive, cast_to_nothing, made_twice])
def test_a_faulty_graph_is_refused_in_one_line(tmp_path: Path, fault: object) -> None:
    assert callable(fault)
    nodes, functions = fault()
    values = [helper.make_tensor_value_info(name, FLOAT16, [1]) for name in "xy"]
    graph = helper.make_graph(nodes, "faulty", values[:1], values[1:])
    model = helper.make_model(graph, functions=functions, opset_imports=OPSETS)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(RunError, match=r"^model\.onnx: no sound ONNX graph, so it cannot be run \(.+\); export again$"):
        emulate(tmp_path / "model.onnx", tmp_path / "emulated.onnx")
