"""ONNX files of anybody's: what is read of them, and what is refused before a library opens them."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ftsf_export.bundle.any_graph import AnyGraph, module_of, read_any_graph, shapes_of
from ftsf_export.bundle.hashed import CutShort, HashedReader
from ftsf_export.bundle.onnx_file import copied_onnx
from ftsf_export.bundle.protobuf import UnreadableGraph
from ftsf_export.errors import UsageError

OUTSIDE = "secret.bin"


def model(nodes: list[Any], constants: list[TensorProto] = [], **graph: Any) -> onnx.ModelProto:  # noqa: B006
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 4, 8])] for name in ("x", "y")]
    made = helper.make_graph(nodes, "g", *ends, constants, **graph)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def outside(name: str, location: str, offset: int = 0) -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros((8, 8), np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", "256")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def product(weight: str = "w") -> Any:
    return helper.make_node("MatMul", ["x", weight], ["y"], name="/encoder/layer.3/MatMul")


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Writes a model whose weight lies at ``location``, and 256 bytes beside it."""

    def write(location: str = "m.onnx.data", offset: int = 0, **more: Any) -> Path:
        (tmp_path / "m.onnx.data").write_bytes(bytes(256))
        path = tmp_path / "m.onnx"
        onnx.save(model([product()], [outside("w", location, offset)], **more), path)
        return path

    return write


def read(proto: onnx.ModelProto, tmp_path: Path) -> AnyGraph:
    (tmp_path / "read.onnx").write_bytes(proto.SerializeToString())
    with FileIO(tmp_path / "read.onnx") as stream:
        return read_any_graph(HashedReader(stream, (tmp_path / "read.onnx").stat().st_size))


def test_a_file_and_what_lies_beside_it_are_copied(written: Any) -> None:
    path = written()
    with copied_onnx(path) as file:
        assert file.path.read_bytes() == path.read_bytes()
        assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert sorted(p.name for p in file.path.parent.iterdir()) == ["m.onnx", "m.onnx.data"]
        assert [(one.name, one.shape) for one in file.graph.inputs] == [("x", (None, 4, 8))]
        (node,) = file.graph.nodes
        assert (node.operation, node.module) == ("MatMul", "encoder.layer.3")
    assert not file.path.exists()


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        f"../{OUTSIDE}",
        "sub/weights",
        "",
        "m.onnx",
        "./m.onnx.data",
        "*/_ORT_MEM_ADDR_/*",
        "a\\b",
        "a\nb",
    ],
)
def test_values_elsewhere_are_refused(written: Any, tmp_path: Path, location: str) -> None:
    (tmp_path.parent / OUTSIDE).write_bytes(bytes(256))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights").write_bytes(bytes(256))
    with pytest.raises(UsageError, match=r"expected a file beside it|no location"), copied_onnx(written(location)):
        pass


def test_values_within_a_graph_within_a_function_or_an_attribute_count_as_well(tmp_path: Path) -> None:
    far = outside("far", "../x")
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=far)], "inner", [], [])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    function = helper.make_function("d", "F", ["a"], ["c"], list(inner.node), [helper.make_opsetid("", 20)])
    sparse = helper.make_sparse_tensor(far, numpy_helper.from_array(np.zeros(64, np.int64)), [8, 8])
    with_function = model([product()])
    with_function.functions.append(function)
    with_sparse = model([product()])
    with_sparse.graph.sparse_initializer.append(sparse)
    trained = model([product()])
    trained.training_info.add().algorithm.CopyFrom(inner)
    for proto in (model([branch]), with_function, with_sparse, trained):
        assert {data.location for data in read(proto, tmp_path).external} == {"../x"}


def test_a_link_is_refused_beside_the_file_and_followed_to_it(written: Any, tmp_path: Path) -> None:
    path = written()
    (tmp_path / "elsewhere").mkdir()
    given = tmp_path / "elsewhere" / "given.onnx"
    given.symlink_to(path)
    with copied_onnx(given) as file:
        assert (file.path.parent / "m.onnx.data").exists()
    (tmp_path / "m.onnx.data").rename(tmp_path / OUTSIDE)
    (tmp_path / "m.onnx.data").symlink_to(tmp_path / OUTSIDE)
    with pytest.raises(UsageError, match=r"m\.onnx\.data: a symbolic link"), copied_onnx(path):
        pass


@pytest.mark.parametrize("kind", ["missing", "pipe", "folder", "short"])
def test_what_lies_beside_is_a_whole_regular_file(written: Any, tmp_path: Path, kind: str) -> None:
    path = written(offset=4 if kind == "short" else 0)
    beside = tmp_path / "m.onnx.data"
    if kind != "short":
        beside.unlink()
    if kind == "pipe":
        os.mkfifo(beside)
    if kind == "folder":
        beside.mkdir()
    with pytest.raises(UsageError, match=r"m\.onnx\.data: "), copied_onnx(path):
        pass


@pytest.mark.parametrize("content", [b"hello\n", b"", b"\x08\x0a", b"PK\x03\x04", b"\x3a\xff\xff\xff\xff\x0f"])
def test_a_file_that_is_no_graph(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(UsageError, match=r"m\.onnx: not a readable ONNX file"), copied_onnx(tmp_path / "m.onnx"):
        pass
    with (
        pytest.raises(UsageError, match=r"gone\.onnx: cannot be read: No such"),
        copied_onnx(tmp_path / "gone.onnx"),
    ):
        pass


def test_graphs_within_graphs_end_somewhere(tmp_path: Path) -> None:
    """Deeper than the onnx package itself would write: node, attribute and graph by their field numbers."""

    def field(number: int, content: bytes) -> bytes:
        size, head = len(content), b""
        while size > 127:
            head, size = head + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + head + bytes([size]) + content

    graph = b""
    for _ in range(40):
        graph = field(1, field(5, field(6, graph)))
    (tmp_path / "m.onnx").write_bytes(field(7, graph))
    with pytest.raises(UsageError, match="more than 32 deep"), copied_onnx(tmp_path / "m.onnx"):
        pass


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bytes_that_were_changed_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    content = bytearray(model([product()], [outside("w", "m.onnx.data")]).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.onnx"
    path.write_bytes(bytes(content))
    with FileIO(path) as stream, suppress(UnreadableGraph, CutShort):
        read_any_graph(HashedReader(stream, len(content)))


def attention(softmax: str = "Softmax", mask: bool = False) -> onnx.ModelProto:
    """scores, scale, perhaps a mask, softmax, mix; and a softmax over a classifier's scores."""
    nodes = [
        helper.make_node("MatMul", ["x", "xt"], ["scores"], name="scores"),
        helper.make_node("Mul", ["scores", "s"], ["scaled"], name="scale"),
        helper.make_node("Add", ["scaled", "m"], ["masked"], name="mask"),
        helper.make_node(softmax, ["masked" if mask else "scaled"], ["weights"], name="softmax"),
        helper.make_node("MatMul", ["weights", "x"], ["mixed"], name="mix"),
        helper.make_node("MatMul", ["mixed", "w"], ["classes"], name="head"),
        helper.make_node("Softmax", ["classes"], ["y"], name="probabilities"),
    ]
    nodes.insert(0, helper.make_node("Transpose", ["x"], ["xt"], name="xt"))
    return model(nodes, [outside(name, "d") for name in ("s", "m", "w")])


@pytest.mark.parametrize("mask", [False, True])
def test_a_softmax_between_two_products_of_values_is_an_attention(tmp_path: Path, mask: bool) -> None:
    assert read(attention(mask=mask), tmp_path).attentions == ("softmax",)
    assert read(attention("Sigmoid", mask), tmp_path).attentions == ()
    assert read(model([helper.make_node("Attention", ["x"] * 3, ["y"], name="a")]), tmp_path).attentions == ("a",)


def test_a_node_without_a_name_is_called_as_parsers_call_it(tmp_path: Path) -> None:
    (node,) = read(model([helper.make_node("Relu", ["x"], ["y"])]), tmp_path).nodes
    assert node.name == "node_of_y"


@pytest.mark.parametrize(
    ("name", "scopes", "module"),
    [
        ("node_linear_1", "['', 'vit', 'vit.layers.0', 'vit.layers.0.mlp', 'linear_1']", "vit.layers.0.mlp"),
        ("node_add", "['', 'add']", ""),
        ("/vit/layers.0/mlp/MatMul_1", "", "vit.layers.0.mlp"),
        ("blocks.0.mlp.fc1/MatMul", "", "blocks.0.mlp.fc1"),
        ("Conv_12", "", ""),
        ("", "", ""),
    ],
)
def test_the_module_of_a_node(name: str, scopes: str, module: str) -> None:
    assert module_of(name, scopes) == module


@pytest.mark.parametrize(
    ("asked", "shapes", "says"),
    [
        ({}, {"x": (1, 4, 8)}, ""),
        ({"x": (3, 4, 8)}, {"x": (3, 4, 8)}, ""),
        ({"x": (3, 4, 9)}, {}, "x: the file has ?x4x8, got 3x4x9"),
        ({"x": (3, 4)}, {}, "x: the file has ?x4x8, got 3x4"),
        ({"z": (3,)}, {"x": (1, 4, 8)}, "'z': the inputs are x"),
    ],
)
def test_shapes_that_are_asked_for(tmp_path: Path, asked: dict[str, Any], shapes: dict[str, Any], says: str) -> None:
    found, problems = shapes_of(read(model([product()]), tmp_path), asked)
    assert found == shapes
    assert says in "".join(problems)
    assert bool(problems) == bool(says)


def test_a_size_that_is_not_fixed_and_not_the_first_has_to_be_given(tmp_path: Path) -> None:
    proto = model([product()])
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "tokens"
    assert shapes_of(read(proto, tmp_path), {})[1] == ("shape: x: its sizes are ?x?x8; give them with --shape x:?x?x8",)
