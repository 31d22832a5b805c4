"""The strongly typed graph: half everywhere but in the islands, and nothing lost on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from ftsf_export.bundle import Island
from ftsf_export.errors import ExportError
from ftsf_export.graph.check import check, check_file
from ftsf_export.graph.node_scopes import scope_of
from ftsf_export.graph.onnx_model import MODULE_KEY, OnnxModel
from ftsf_export.graph.precision import to_precision
from ftsf_export.network.scope import Scope

FLOAT = ir.DataType.FLOAT
HALF = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
# Features of FAVOR+ fewer than a frame's tokens: both orders of its products are there.
MODELS: dict[str, dict[str, Any]] = {
    "fastformer": {"attn_mechanism": "fastformer", "depth": 3, "batch": "1:2:4"},
    "performer": {"attn_mechanism": "performer", "performer_features": 4},
    "regular": {"depth": 5},
}

Make = Callable[..., OnnxModel]


def floating(values: Any) -> list[ir.Value]:
    return [value for value in values if value is not None and value.dtype.is_floating_point()]


def in_island(model: OnnxModel, node: ir.Node) -> bool:
    return any(Scope(island.scope).holds(scope_of(node)) for island in model.islands)


@pytest.fixture(params=[(name, precision) for name in MODELS for precision in HALF], ids="-".join)
def pair(request: pytest.FixtureRequest, graph_of: Make) -> tuple[OnnxModel, OnnxModel]:
    """The FP32 graph and the half-precision one."""
    name, precision = request.param
    source = graph_of(**MODELS[name])
    return source, to_precision(source, precision)


def test_the_file_is_strongly_typed(pair: tuple[OnnxModel, OnnxModel], tmp_path: Path) -> None:
    """The full check infers every type anew: an operator with two types, or a value with a wrong one, is refused."""
    _, model = pair
    check(model)
    model.save(tmp_path / "model.onnx")
    check_file(tmp_path / "model.onnx")


def test_half_outside_the_islands_and_float32_inside(pair: tuple[OnnxModel, OnnxModel]) -> None:
    source, model = pair
    half = HALF[model.precision]
    seen: Counter[str] = Counter()
    for node in model.model.graph:
        if node.op_type == "Cast":
            kinds = {node.inputs[0].dtype, node.outputs[0].dtype}
            assert kinds == {FLOAT, half}, node.name
            seen["casts"] += 1
            continue
        wanted = FLOAT if in_island(model, node) else half
        assert {value.dtype for value in floating((*node.inputs, *node.outputs))} <= {wanted}, node.name
        seen["islands" if wanted == FLOAT else "half"] += 1
    # Nothing but casts is new, and the islands are as large as the manifest says.
    assert seen.total() == model.node_count == source.node_count + seen["casts"]
    assert seen["islands"] == sum(island.nodes for island in model.islands)
    assert seen["half"] > seen["islands"]


def test_what_leaves_an_island_is_half(pair: tuple[OnnxModel, OnnxModel]) -> None:
    """Also on its way to another island: no FP32 value but casts' goes from one module to another."""
    _, model = pair
    for node in model.model.graph:
        for value in node.outputs:
            if value.dtype != FLOAT or node.op_type == "Cast":
                continue
            users = [user for user, _ in value.uses() if user.op_type != "Cast"]
            assert {scope_of(user) for user in users} <= {scope_of(node)}, node.name


def test_input_and_output_stay_float32(pair: tuple[OnnxModel, OnnxModel]) -> None:
    _, model = pair
    borders = [*model.model.graph.inputs, *model.model.graph.outputs]
    assert [(value.name, value.dtype) for value in borders] == [("clip", FLOAT), ("logits", FLOAT)]


def test_layer_norm_stays_one_half_node(pair: tuple[OnnxModel, OnnxModel]) -> None:
    source, model = pair
    norms = [node for node in model.model.graph if node.op_type == "LayerNormalization"]
    assert len(norms) == sum(node.op_type == "LayerNormalization" for node in source.model.graph)
    depth = len({scope_of(node).block for node in norms if scope_of(node).block})
    assert len(norms) == 3 * depth + 1
    half = HALF[model.precision]
    assert {value.dtype for node in norms for value in (*node.inputs, *node.outputs)} == {half}


def test_weights_are_the_rounded_ones(pair: tuple[OnnxModel, OnnxModel]) -> None:
    source, model = pair
    half = HALF[model.precision]
    wide = source.model.graph.initializers
    names = [name for name in model.model.graph.initializers if name.endswith(".weight") and ".norm." not in name]
    assert {model.model.graph.initializers[name].dtype for name in names} == {half}
    assert "blocks.0.mlp.fc2.weight" in names
    for name in names:
        rounded = wide[name].const_value.numpy().astype(half.numpy())
        np.testing.assert_array_equal(model.model.graph.initializers[name].const_value.numpy(), rounded)
    assert model.weight_bytes < 0.52 * source.weight_bytes


def test_taps_keep_their_names_and_shapes(pair: tuple[OnnxModel, OnnxModel]) -> None:
    source, model = pair
    shapes = [
        {v.name: list(v.shape) for node in graph.model.graph for v in node.outputs if v.name in names}
        for graph in (source, model)
        for names in [{tap.name for tap in source.taps}]
    ]
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) == len(source.taps)


def test_regular_needs_two_casts(graph_of: Make) -> None:
    source = graph_of(**MODELS["regular"])
    assert source.islands == ()
    assert to_precision(source, "fp16").node_count == source.node_count + 2


def test_the_source_is_left_as_it_was(graph_of: Make) -> None:
    source = graph_of(**MODELS["performer"])
    before = ir.to_proto(source.model).SerializeToString(deterministic=True)
    half = to_precision(source, "fp16")
    assert ir.to_proto(source.model).SerializeToString(deterministic=True) == before
    assert (source.precision, half.precision) == ("fp32", "fp16")
    assert to_precision(source, "fp32") is source
    with pytest.raises(ValueError, match="expected an FP32 graph, got fp16"):
        to_precision(half, "bf16")
    with pytest.raises(ValueError, match="expected fp32, fp16 or bf16, got 'int8'"):
        to_precision(source, "int8")


def crafted(number: float) -> OnnxModel:
    """clip -> Mul (``out``) -> Mul (``island``) -> logits, with the constant ``scale`` used in both."""
    clip = ir.val("clip", FLOAT, [2])
    scale = ir.val("scale", FLOAT, [2], const_value=ir.tensor(np.float32([number, 0.5]), name="scale"))
    first = ir.node("Mul", [clip, scale], name="out/Mul", metadata_props={MODULE_KEY: "out"})
    second = ir.node("Mul", [first.outputs[0], scale], name="island/Mul", metadata_props={MODULE_KEY: "island"})
    for node, name in ((first, "product"), (second, "logits")):
        node.outputs[0].name, node.outputs[0].dtype, node.outputs[0].shape = name, FLOAT, ir.Shape([2])
    graph = ir.Graph(
        [clip], second.outputs, nodes=[first, second], initializers=[scale], opset_imports={"": 20}, name="crafted"
    )
    island = Island("island", "a reason", 1)
    model = ir.Model(graph, ir_version=10)
    return OnnxModel(model=model, precision="fp32", opset=20, taps=(), islands=(island,), rewrites=())


def test_a_constant_used_on_both_sides_is_there_in_both_types(tmp_path: Path) -> None:
    source = crafted(1.5)
    model = to_precision(source, "fp16")
    kinds = {name: value.dtype for name, value in model.model.graph.initializers.items()}
    assert kinds == {"scale": FLOAT, "scale:fp16": HALF["fp16"]}
    assert [node.op_type for node in model.model.graph] == ["Cast", "Mul", "Cast", "Mul"]
    assert [value.dtype for value in model.model.graph.outputs] == [FLOAT]
    model.save(tmp_path / "model.onnx")
    check_file(tmp_path / "model.onnx")


def test_a_weight_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"scale: 1 weights do not fit into fp16 \(largest 1e\+06\); use bf16"):
        to_precision(crafted(1e6), "fp16")
    model = to_precision(crafted(1e6), "bf16")
    model.save(tmp_path / "model.onnx")
    check_file(tmp_path / "model.onnx")
    kept = model.model.graph.initializers["scale:bf16"].const_value.numpy().astype(np.float32)
    np.testing.assert_allclose(kept, [1e6, 0.5], rtol=2**-8)


def test_an_infinity_that_was_there_is_no_overflow() -> None:
    model = to_precision(crafted(-np.inf), "fp16")
    assert model.model.graph.initializers["scale:fp16"].const_value.numpy()[0] == -np.inf
