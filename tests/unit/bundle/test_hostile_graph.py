"""Graphs that somebody forged: what no export writes is refused before any library opens the file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from ftsf_export.bundle import Bundle
from ftsf_export.bundle.graph_content import GraphContent
from ftsf_export.bundle.graph_file import read_graph
from ftsf_export.bundle.hashed import HashedReader
from ftsf_export.config import ExportConfig
from tests.unit.bundle.forged import list_file, refused, with_graph
from tests.unit.manifests import graph_bytes, read_manifest

Write = Callable[..., Bundle]


def external(location: str, **entries: str) -> TensorProto:
    tensor = helper.make_tensor("weight", TensorProto.FLOAT16, (2, 2), [1.0] * 4)
    tensor.ClearField("int32_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_external_data_is_a_listed_file_whose_hash_holds(bundle: Bundle) -> None:
    (bundle.path / "w.bin").write_bytes(b"\0" * 8)
    root = with_graph(bundle, graph_bytes(initializer=[external("w.bin")]))
    assert "'w.bin', which the manifest does not list" in refused(root)
    list_file(root, "w.bin", b"\0" * 8)
    with Bundle.open(root).graph_copy() as path:
        assert (path.parent / "w.bin").read_bytes() == b"\0" * 8
    (root / "w.bin").write_bytes(b"\1" * 8)
    assert "w.bin: altered or damaged" in refused(root)
    (root / "w.bin").rename(root / "kept")
    (root / "w.bin").symlink_to("kept")
    assert "w.bin: a symbolic link" in refused(root)


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "*/_ORT_MEM_ADDR_/*", "a//b", "./w.bin", "w\\x"])
def test_external_data_lies_nowhere_else(bundle: Bundle, location: str) -> None:
    assert "no name in a bundle" in refused(with_graph(bundle, graph_bytes(initializer=[external(location)])))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"offset": "4", "length": "8"}, "beyond its end, 8 bytes"),
        ({"offset": "-1"}, "is no number of bytes"),
        ({"length": "9" * 30}, "is no number of bytes"),
    ],
)
def test_external_data_lies_within_its_file(bundle: Bundle, entries: dict[str, str], said: str) -> None:
    (bundle.path / "w.bin").write_bytes(b"\0" * 8)
    list_file(bundle.path, "w.bin", b"\0" * 8)
    assert said in refused(with_graph(bundle, graph_bytes(initializer=[external("w.bin", **entries)])))


def with_function(
    name: str = "FtsfFavorAttention", domain: str = "ftsf", nodes: Iterable[onnx.NodeProto] = ()
) -> bytes:
    """A graph with a function, which it does not call."""
    model = onnx.load_from_string(graph_bytes())
    model.functions.append(helper.make_function(domain, name, ["x"], ["c"], list(nodes), []))
    return model.SerializeToString()


def and_node(operation: str, *, domain: str = "", inputs: Sequence[str] = ("clip",), **attributes: object) -> bytes:
    """A graph with one node more, which gives ``y``."""
    model = onnx.load_from_string(graph_bytes())
    model.graph.node.append(helper.make_node(operation, inputs, ["y"], "more", domain=domain, **attributes))
    return model.SerializeToString()


EMPTY = helper.make_graph([], "inner", [], [helper.make_empty_tensor_value_info("c")])


@pytest.mark.parametrize(
    "data",
    [
        and_node("Constant", inputs=(), value=external("hidden.bin")),
        with_function(nodes=[helper.make_node("Constant", [], ["c"], value=external("hidden.bin"))]),
    ],
    ids=["attribute", "function"],
)
def test_external_data_hides_nowhere(bundle: Bundle, data: bytes) -> None:
    assert "'hidden.bin'" in refused(with_graph(bundle, data))


def training() -> bytes:
    model = onnx.load_from_string(graph_bytes())
    model.training_info.add().algorithm.CopyFrom(EMPTY)
    return model.SerializeToString()


def calling(functions: int, calls: int) -> bytes:
    """Each call is worked off as the nodes of the function: few bytes, much work."""
    model = onnx.load_from_string(
        with_function(nodes=[helper.make_node("Relu", ["x"], [f"v{i}"]) for i in range(functions)])
    )
    call = [helper.make_node("FtsfFavorAttention", ["clip"], [f"c{i}"], domain="ftsf") for i in range(calls)]
    model.graph.node.extend(call)
    return model.SerializeToString()


def overloaded() -> bytes:
    model = onnx.load_from_string(with_function())
    model.functions[0].overload = "other"
    return model.SerializeToString()


CALL = helper.make_node("FtsfFavorAttention", ["x"], ["c"], domain="ftsf")
SPARSE = onnx.SparseTensorProto(values=external("w.bin"), dims=[4])
FOREIGN = {
    "endless loop": (and_node("Loop", inputs=("", ""), body=EMPTY), "a graph within the graph"),
    "choice": (and_node("If", then_branch=EMPTY, else_branch=EMPTY), "a graph within the graph"),
    "loop without a body": (and_node("Loop"), "'more': no export has the operator Loop"),
    "sequence": (and_node("SequenceConstruct"), "no export has the operator SequenceConstruct"),
    "shape from values": (and_node("ConstantOfShape"), "no export has the operator ConstantOfShape"),
    "somebody's operator": (and_node("Inverse", domain="com.microsoft"), "com.microsoft.Inverse is not a standard one"),
    "call of nothing": (and_node("Mine", domain="ftsf"), "the operator ftsf.Mine has no function"),
    "cast to nothing": (and_node("Cast"), "'more': a Cast that does not say to which type"),
    "somebody's function": (
        with_function(domain="local"),
        "the function local.FtsfFavorAttention is none of an export's",
    ),
    "recursive function": (with_function(nodes=[CALL]), "the function 'FtsfFavorAttention' calls a function"),
    "expanding functions": (calling(400, 300), "120304 nodes with those of the functions that it calls"),
    "overload": (overloaded(), "an overload"),
    "sparse weight": (graph_bytes(sparse_initializer=[SPARSE]), "a sparse tensor"),
    "sparse attribute": (and_node("Constant", inputs=(), sparse_value=SPARSE), "a sparse tensor"),
    "graphs for training": (training(), "graphs for training"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_no_export_writes_is_refused(bundle: Bundle, what: str) -> None:
    data, said = FOREIGN[what]
    message = refused(with_graph(bundle, data))
    assert "model.onnx: no graph of an export: " in message
    assert said in message


def twice(field: str) -> bytes:
    model = onnx.load_from_string(graph_bytes())
    if field == "input and weight":
        model.graph.input.add().CopyFrom(helper.make_tensor_value_info("weight", TensorProto.FLOAT16, (32, 5)))
    elif field == "input and node":
        model.graph.node.add().CopyFrom(helper.make_node("Relu", ["clip"], ["clip"]))
    else:
        same = getattr(model.graph, field)
        same.add().CopyFrom(same[0])
    return model.SerializeToString()


@pytest.mark.parametrize("field", ["input", "output", "initializer", "node", "input and weight", "input and node"])
def test_a_name_stands_for_one_value(bundle: Bundle, field: str) -> None:
    assert "is made twice" in refused(with_graph(bundle, twice(field)))


def test_merged_messages_count_both(bundle: Bundle) -> None:
    """Protobuf merges a message that stands twice."""
    extra = onnx.ModelProto(graph=onnx.GraphProto(initializer=[external("hidden.bin")]))
    assert "found 2" in refused(with_graph(bundle, graph_bytes() + extra.SerializeToString()))
    shape = onnx.GraphProto(input=[helper.make_tensor_value_info("clip", TensorProto.FLOAT, ("batch", 2, 3, 32, 32))])
    doubled = shape.input[0].SerializeToString()
    doubled += b"\x12" + bytes([len(shape.input[0].type.SerializeToString())]) + shape.input[0].type.SerializeToString()
    (read,) = graph_with_input(doubled).inputs
    assert read.shape == (None, 2, 3, 32, 32) * 2


def graph_with_input(value_info: bytes) -> GraphContent:
    model = onnx.load_from_string(graph_bytes(inputs=[])).graph.SerializeToString()
    graph = model + b"\x5a" + bytes([len(value_info)]) + value_info
    data = b"\x3a" + _size(len(graph)) + graph
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        with FileIO(file.fileno(), closefd=False) as stream:
            return read_graph(HashedReader(stream, len(data)))


def _size(count: int) -> bytes:
    low, high = count & 0x7F, count >> 7
    return bytes([low | 0x80]) + _size(high) if high else bytes([low])


@pytest.mark.parametrize(
    ("side", "changed"),
    [
        ("inputs", {"inputs": [helper.make_tensor_value_info("clip", TensorProto.FLOAT, (1, 2, 3, 32, 32))]}),
        ("inputs", {"inputs": [helper.make_tensor_value_info("clip", TensorProto.FLOAT, ("batch", 2, 3, 32, 31))]}),
        ("inputs", {"inputs": [helper.make_tensor_value_info("clip", TensorProto.UINT8, ("batch", 2, 3, 32, 32))]}),
        ("inputs", {"inputs": [helper.make_tensor_value_info("Clip", TensorProto.FLOAT, ("batch", 2, 3, 32, 32))]}),
        ("inputs", {"inputs": []}),
        ("outputs", {"outputs": [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 6))]}),
        ("outputs", {"outputs": [helper.make_empty_tensor_value_info("logits")]}),
    ],
)
def test_the_graph_takes_and_gives_what_the_manifest_says(bundle: Bundle, side: str, changed: dict[str, Any]) -> None:
    assert f"model.onnx: {side}: the manifest says" in refused(with_graph(bundle, graph_bytes(**changed)))


def test_a_graph_has_a_node_for_each_block(bundle: Bundle) -> None:
    """Plans are read block by block."""
    manifest = read_manifest(bundle.path)
    deep = replace(manifest, asked=ExportConfig(), model=replace(manifest.model, depth=10**30))
    (bundle.path / "manifest.json").write_bytes(deep.to_bytes())
    assert f"the manifest says {10**30} blocks, and the graph has 4 nodes" in refused(bundle.path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "expected one graph, found 0"),
        (b"not an ONNX file", "not a readable ONNX file"),
        (graph_bytes()[:-3], "not a readable ONNX file"),
        (b"\x0b" + graph_bytes(), "wire type 3"),
        (b"\x3a\xff\xff\xff\xff\x7f", "reaches over its message's end"),
        (b"\x80" * 11, "more than 64 bits"),
        (b"\x08\x01" * 500_001, "more than 500000 fields"),
        (graph_bytes().replace(b"head/MatMul", b"head/\xff\xfftMul"), "is not UTF-8"),
        (graph_bytes().replace(b"logits", b"log\xffts"), "is not UTF-8"),
    ],
)
def test_an_unreadable_graph_is_one_line_and_exit_2(bundle: Bundle, data: bytes, said: str) -> None:
    assert said in refused(with_graph(bundle, data))


@pytest.mark.parametrize(("graph", "said"), [("fp16", "bf16"), ("fp32", "fp16"), ("bf16", "fp16"), ("fp16", "fp32")])
def test_the_precision_is_the_graphs_own(tmp_path: Path, write_bundle: Write, graph: str, said: str) -> None:
    """A wider precision in the manifest would widen the limits."""
    root = write_bundle(tmp_path / "out", precision=graph).path
    manifest = json.loads((root / "manifest.json").read_bytes())
    manifest["precision"] = said
    (root / "manifest.json").write_text(json.dumps(manifest))
    assert f"precision: the manifest says {said}, but 'head/MatMul' multiplies {graph}" in refused(root)


def test_every_operand_of_a_product_has_a_type(bundle: Bundle) -> None:
    """Without one its precision is anybody's, and so is its work."""
    data = and_node("MatMul", inputs=("scores", "scores"))
    assert "the graph does not tell the type of an operand of 'more'" in refused(with_graph(bundle, data))


def test_islands_do_not_hide_every_product(bundle: Bundle) -> None:
    manifest = read_manifest(bundle.path)
    wide = replace(manifest.graph.islands[0], scope="head")
    changed = replace(manifest, graph=replace(manifest.graph, islands=(wide,)))
    (bundle.path / "manifest.json").write_bytes(changed.to_bytes())
    assert "no product outside the FP32 islands tells its type" in refused(bundle.path)
