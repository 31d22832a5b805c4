"""IPluginV3 for TensorRT 10.3 against NVIDIA's bindings, and which of function and plugin a parser takes.

The driver says what of it is NVIDIA's and what a stand-in. Nothing here has run on a GPU.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from ftsf_export.engine.onnx_functions import without_functions

RTX = importlib.util.find_spec("tensorrt_rtx") is not None
needs_rtx = pytest.mark.skipif(not RTX, reason="needs NVIDIA's bindings and parser: pip install 'ftsf-export[rtx]'")


def file_with_a_node(functions: int = 1, overload: bool = False) -> onnx.ModelProto:
    """A FAVOR+ node for each of ``functions``, all of the same name; each body is a Transpose, the second of the two
    keeps the order. With ``overload`` they differ in their overload."""
    attributes = {
        "frames": 8, "tokens": 197, "heads": 8, "width": 64, "along": "space", "axes": 2, "pairs": "neighbours",
        "features": 266, "eps": 1e-4, "feature": "relu", "plugin_namespace": "ftsf", "split_order": [1, 0],
    }  # fmt: skip
    nodes, bodies = [], []
    for index in range(functions):
        node = helper.make_node(
            "FtsfFavorAttention", [f"x{index}"], [f"x{index + 1}"], name=f"node{index}", domain="ftsf", **attributes
        )
        body = helper.make_node("Transpose", ["x"], ["out"], name="body/Transpose", perm=[[1, 0], [0, 1]][index])
        function = helper.make_function(
            "ftsf", "FtsfFavorAttention", ["x"], ["out"], [body], [helper.make_opsetid("", 20)], list(attributes)
        )
        if overload:
            node.overload = function.overload = str(index)
        nodes.append(node)
        bodies.append(function)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [4, 4]) for name in ("x0", f"x{functions}")]
    return helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("ftsf", 1)],
        functions=bodies, ir_version=10,
    )  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the driver prints; its parser ends the process, so that its exit status says nothing."""
    path = tmp_path_factory.mktemp("v3") / "model.onnx"
    onnx.save(file_with_a_node(), path)
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    driver = Path(__file__).with_name("v3_driver.py")
    ended = subprocess.run(
        [sys.executable, str(driver), str(path)], capture_output=True, text=True, env=environment, timeout=300
    )
    return [json.loads(line) for line in ended.stdout.splitlines()] or pytest.fail(ended.stderr)


@needs_rtx
def test_types_and_shape(said: list[dict[str, Any]]) -> None:
    for told, fp32 in zip(said[:3], (True, False, True), strict=True):
        assert told["output_type"] == "HALF"
        assert told["output_shape"] == [3, 8 * 197, 512]
        assert told["combinations"] == {"own": True, "bf16": True, "fp32": fp32, "mixed": False}
    assert said[0]["declared"] == {
        "frames": "INT32", "tokens": "INT32", "heads": "INT32", "width": "INT32", "along": "CHAR", "axes": "INT32",
        "pairs": "CHAR",
    }  # fmt: skip


@needs_rtx
@pytest.mark.parametrize(("index", "inputs", "features"), [(0, 5, []), (1, 4, [266]), (2, 3, [])])
def test_an_engine_holds_its_kernel_and_starts_it(
    said: list[dict[str, Any]], index: int, inputs: int, features: list[int]
) -> None:
    """Through NVIDIA's field collections and back, then one launch of one clip and one of three: numbers by hand."""
    told = said[index]
    name = told["values"]["kernel"]
    assert told["compiled"] == [[name, "fp16", 87]]
    assert told["loaded"] == [["machine code of fp16", name, 50_000]]
    strides = [8 * 197 * 1536, 1536, 197 * 1536, 8 * 197 * 512, 512, 197 * 512]
    for batch, (grid, threads, shared, stream, kinds, values) in zip((1, 3), told["started"], strict=True):
        sequences = 197 * batch
        assert grid == [-(-sequences // 8), 8, 1]
        assert (threads, shared, stream) == (told["values"]["threads"], 50_000, 42)
        assert kinds == "p" * inputs + "i" * (9 + len(features)) + "p"
        addresses = [1000 * (at + 1) for at in range(inputs)]
        assert values == [*addresses, sequences, 197, 8, *features, *strides, 9000]


@needs_rtx
def test_this_parser_takes_the_registered_plugin_and_not_the_function(said: list[dict[str, Any]]) -> None:
    """NVIDIA's parser finds it by name and namespace, and hands over every attribute that the plugin declares."""
    assert said[3] == {"registered": [True, True, True]}
    created = said[4]
    assert (created["node"], created["phase"]) == ("node0", "BUILD")
    assert created["values"] == {
        "frames": 8, "tokens": 197, "heads": 8, "width": 64, "along": "space", "axes": 2, "pairs": "neighbours",
        "features": 266, "eps": pytest.approx(1e-4), "feature": "relu",
    }  # fmt: skip


PARSE = """
import json, sys
import tensorrt_rtx as trt
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
parsed = parser.parse(open(sys.argv[1], "rb").read())
orders = []
for index in range(network.num_layers):
    layer = network.get_layer(index)
    layer.__class__ = trt.IShuffleLayer
    orders.append(list(layer.first_transpose)[:2])
print(json.dumps([parsed, orders]))
"""


def parsed(model: bytes, folder: Path) -> Any:
    """Whether NVIDIA's parser takes the file, no plugin registered, and the orders of its transpositions."""
    path = folder / "model.onnx"
    path.write_bytes(model)
    ended = subprocess.run([sys.executable, "-c", PARSE, str(path)], capture_output=True, text=True, timeout=300)
    return json.loads(ended.stdout.splitlines()[-1])


@needs_rtx
def test_without_a_plugin_the_function_is_compiled(tmp_path: Path) -> None:
    assert parsed(file_with_a_node().SerializeToString(), tmp_path) == [True, [[1, 0]]]


@needs_rtx
def test_overloads_are_taken_for_one_another(tmp_path: Path) -> None:
    """Why there is one function for all nodes: two that differ in their overload are legal, and one is lost."""
    parsed_both, orders = parsed(file_with_a_node(2, overload=True).SerializeToString(), tmp_path)
    assert parsed_both
    assert orders == [[1, 0], [1, 0]]


def first(wins: str, model: bytes) -> str:
    """Two parsers in short, as NVIDIA has published them: which importer a node goes to, its plugin registered."""
    has_function = bool(onnx.ModelProto.FromString(model).functions)
    return "function" if has_function and wins == "function" else "plugin"


@pytest.mark.parametrize("wins", ["function", "plugin"])
def test_a_build_with_plugins_gets_them_whatever_the_parser_prefers(wins: str) -> None:
    """It hands over the file without functions; with them, one of the two parsers would not take the plugin."""
    whole = file_with_a_node().SerializeToString()
    assert first(wins, whole) == wins
    assert first(wins, without_functions(whole)) == "plugin"


@needs_rtx
def test_without_function_and_plugin_the_file_is_refused(tmp_path: Path) -> None:
    assert parsed(without_functions(file_with_a_node().SerializeToString()), tmp_path)[0] is False


def test_nothing_but_the_functions_goes() -> None:
    model = file_with_a_node(2)
    stripped = onnx.ModelProto.FromString(without_functions(model.SerializeToString()))
    assert not stripped.functions
    del model.functions[:]
    assert stripped == model


@pytest.mark.parametrize("cut", [1, 7])
def test_a_file_that_is_cut_short_is_named(cut: int) -> None:
    whole = file_with_a_node().SerializeToString()
    with pytest.raises(ValueError, match="cut short"):
        without_functions(whole[:-cut])
