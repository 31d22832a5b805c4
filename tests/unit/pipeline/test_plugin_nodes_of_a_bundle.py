"""What a graph starts, read from its nodes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from ftsf_export.errors import UsageError
from ftsf_export.graph.nodes_for_plugins import nodes_for_plugins
from ftsf_export.pipeline.plugin_nodes import main


def graph_with(path: Path, domain: str) -> Path:
    node = helper.make_node(
        "FtsfFavorAttention", ["x"], ["y"], domain=domain, frames=8, along="time", eps=0.5, split_order=[1, 0]
    )
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [4]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([node], "g", values[:1], values[1:])), path)
    return path


def test_name_element_and_attributes(tmp_path: Path) -> None:
    (found,) = nodes_for_plugins(graph_with(tmp_path / "model.onnx", "ftsf"), "fp16")
    assert found == {
        "name": "FtsfFavorAttention",
        "element": "fp16",
        "attributes": {"frames": 8, "along": "time", "eps": 0.5},
    }


def test_a_graph_without_such_nodes_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no node of it is for a plugin; export with --plugins"):
        nodes_for_plugins(graph_with(tmp_path / "model.onnx", "other"), "fp16")


def test_no_bundle_is_one_line_and_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "missing")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
