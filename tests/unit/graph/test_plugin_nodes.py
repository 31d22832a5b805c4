"""Attentions as plugin nodes: the form is the model, the function is the reference, all precisions pass.

Letters: B clips, S stream tokens, H heads, K head width, M features.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from ftsf_export.graph.check import check, check_file
from ftsf_export.graph.emulate import emulate
from ftsf_export.graph.export import GraphOptions
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.graph.plugin_ops import PLUGIN_OPS, PluginOp
from ftsf_export.graph.precision import to_precision
from ftsf_export.graph.rewrite import ALL
from ftsf_export.mechanisms import loaded, mechanism_named
from ftsf_export.parity.judge import Limits
from ftsf_export.parity.weights import weights
from ftsf_export.precision import precision_named
from ftsf_plugins.additive_attention import plugin as additive
from ftsf_plugins.additive_attention.reference import additive_attention
from ftsf_plugins.favor_attention import plugin as favor
from ftsf_plugins.favor_attention.reference import favor_attention
from ftsf_plugins.rotary import Rotation
from ftsf_plugins.rotary_attention import plugin as rotary
from ftsf_plugins.rotary_attention.reference import rotary_attention
from ftsf_plugins.stream import Stream

BOTH = frozenset({"time", "space"})
SHAPE: dict[str, Any] = {"depth": 3, "dim_head": 32}
# So few that FAVOR+'s function takes its other order of products in joint attention, that of many tokens.
FEW_FEATURES = {"performer_features": 4}
OPERATIONS = {"fastformer": additive.OPERATION, "performer": favor.OPERATION, "regular": rotary.OPERATION}

Graph = Callable[..., OnnxModel]


def made(graph_of: Graph, mechanism: str, **options: Any) -> OnnxModel:
    return graph_of(plugins=BOTH, batch="1:2:4", attn_mechanism=mechanism, **{**SHAPE, **options})


def file_of(graph: OnnxModel, precision: str, folder: Path) -> Path:
    path = folder / f"{precision}.onnx"
    narrow = to_precision(graph, precision)
    check(narrow)
    narrow.save(path)
    check_file(path)
    return path


def op_of(mechanism: str) -> PluginOp:
    """The node's operation, from its core."""
    entry = mechanism_named(mechanism).plugin
    assert entry is not None
    op: PluginOp = loaded(entry.core).op
    return op


@pytest.mark.parametrize("kind", ["divided", "joint", "space"])
@pytest.mark.parametrize(
    ("mechanism", "options"),
    [
        ("fastformer", {}),
        ("fastformer", {"rotary_emb": False, "qkv_bias": True}),
        ("performer", {"qkv_bias": True}),
        ("performer", {"rotary_emb": False, "performer_kernel": "relu"}),
        ("performer", FEW_FEATURES),
        ("regular", {"qkv_bias": True}),
    ],
)
def test_the_form_is_the_model(
    mechanism: str, options: dict[str, Any], kind: str, model_of: Any, clips: Any, distance: Any
) -> None:
    """In float64, with all rewrites and with none, along both and along one."""
    model = model_of(attn_mechanism=mechanism, attn_type=kind, **SHAPE, **options)
    double = type(model).from_config(model.config).double().eval()
    double.load_state_dict(model.state_dict())
    clip = torch.from_numpy(clips(2)).double()
    for plugins, rewrites in ((BOTH, ALL), (frozenset({"space"}), frozenset())):
        with torch.no_grad():
            got, expected = ExportForm(double, rewrites, plugins=plugins)(clip), double(clip)
        assert distance(got.numpy(), expected.numpy()) < 1e-10


@pytest.mark.parametrize("mechanism", OPERATIONS)
def test_every_attention_but_the_class_tail_is_a_node(mechanism: str, graph_of: Graph) -> None:
    graph = made(graph_of, mechanism)
    nodes = [node for node in graph.model.graph if node.domain == "ftsf"]
    name = op_of(mechanism).name
    assert [node.name for node in nodes] == [
        f"blocks.{block}.{branch}.attn.core/{name}"
        for block in range(3)
        for branch in ("temporal", "spatial")
        if (block, branch) != (2, "spatial")
    ]
    assert [node.attributes["along"].as_string() for node in nodes] == ["time", "space"] * 2 + ["time"]
    assert {node.attributes["plugin_namespace"].as_string() for node in nodes} == {"ftsf"}
    (function,) = graph.model.functions.values()
    assert set(function.attributes) == set(nodes[0].attributes)
    assert {node.domain for node in function} == {""}


def test_without_plugins_there_is_nothing_of_them(graph_of: Graph) -> None:
    graph = graph_of(attn_mechanism="fastformer", **SHAPE)
    assert not graph.model.functions
    assert graph.model.graph.opset_imports == {"": 20}


@pytest.mark.parametrize("mechanism", OPERATIONS)
def test_nodes_carry_what_the_plugin_declares(mechanism: str, graph_of: Graph) -> None:
    operation = OPERATIONS[mechanism]
    assert op_of(mechanism).inputs == operation.inputs
    node = next(node for node in made(graph_of, mechanism).model.graph if node.domain == "ftsf")
    extra = {"plugin_namespace", "split_order", "merge_order"}
    assert set(node.attributes) == {*operation.attributes, *extra}
    assert node.op_type == operation.name


def run_node(path: Path, name: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """One node of the file, its function with it, in ONNX Runtime, on inputs of ours."""
    model = onnx.load(path)
    node = next(node for node in model.graph.node if node.name == name)
    renamed = helper.make_node(node.op_type, list(inputs), ["out"], domain=node.domain)
    renamed.attribute.extend(node.attribute)
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, x.shape) for name, x in inputs.items()]
    out = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)
    alone = helper.make_model(
        helper.make_graph([renamed], "one", values, [out]),
        opset_imports=model.opset_import, functions=model.functions, ir_version=model.ir_version,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(alone.SerializeToString(), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, inputs)[0]
    return result


@pytest.mark.parametrize(
    ("mechanism", "options"),
    [
        ("fastformer", {}),
        ("fastformer", {"rotary_emb": False, "attn_type": "joint"}),
        ("performer", {}),
        ("performer", {"attn_type": "joint", **FEW_FEATURES}),
        ("regular", {}),
        ("regular", {"attn_type": "joint"}),
    ],
)
def test_the_function_is_the_reference(
    mechanism: str, options: dict[str, Any], graph_of: Graph, tmp_path: Path, distance: Any
) -> None:
    """Fresh inputs, every kind of node, against the float64 truth of the plugin's own folder; three clips."""
    graph = made(graph_of, mechanism, **options)
    path = file_of(graph, "fp32", tmp_path)
    rng = np.random.default_rng(3)
    nodes = {node.attributes["along"].as_string(): node for node in graph.model.graph if node.domain == "ftsf"}
    for along, node in nodes.items():
        at = {name: value.value for name, value in node.attributes.items()}
        stream = Stream(at["frames"], at["tokens"], at["heads"], at["width"], along)
        shapes = [tuple(value.shape) for value in node.inputs[1:]]
        shapes = [(3, stream.frames * stream.tokens, 3 * stream.inner), *shapes]
        drawn = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
        inputs = dict(zip(PLUGIN_OPS[node.op_type].inputs, drawn, strict=True))
        turns = Rotation(inputs["positions"], inputs["frequencies"]) if at["axes"] else None
        if mechanism == "fastformer":
            expected = additive_attention(inputs["qkv"], inputs["w_q"], inputs["w_k"], stream, turns)
        elif mechanism == "regular":
            expected = rotary_attention(inputs["qkv"], stream, turns)
        else:
            expected = favor_attention(inputs["qkv"], inputs["omega"], stream, turns, eps=at["eps"])
        assert distance(run_node(path, node.name, inputs), expected) < 1e-5


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("mechanism", OPERATIONS)
def test_onnx_runtime_passes_parity(
    mechanism: str, precision: str, graph_of: Graph, model_of: Any, clips: Any, eager: Any, ort: Any, distance: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    """The limits of the export's own gates, logits and every tap; half precision by its cast-emulated form."""
    graph = made(graph_of, mechanism)
    path = file_of(graph, precision, tmp_path)
    if precision != "fp32":
        emulate(path, path)
        assert not onnx.load(path).functions
    got = ort(path, clips(2), graph.taps, optimize=precision == "fp32")
    expected = eager(model_of(attn_mechanism=mechanism, **SHAPE), graph.taps, clips(2))
    limit = Limits.for_precision(precision_named(precision)).rel_l2
    for name, value in expected.items():
        assert distance(got[name], value) < limit, name


def test_half_precision_leaves_statistics_and_small_inputs_in_fp32(graph_of: Graph, tmp_path: Path) -> None:
    file = onnx.load(file_of(made(graph_of, "fastformer"), "fp16", tmp_path))
    kinds = {tensor.name: tensor.data_type for tensor in file.graph.initializer}
    node = next(node for node in file.graph.node if node.domain == "ftsf")
    assert [kinds[name] for name in node.input[1:]] == [onnx.TensorProto.FLOAT] * 4
    (function,) = file.functions
    softmax = [node for node in function.node if node.op_type == "Softmax"]
    casts = {node.output[0]: node.attribute[0].i for node in function.node if node.op_type == "Cast"}
    assert len(softmax) == 2
    assert all(casts[node.input[0]] == onnx.TensorProto.FLOAT for node in softmax)
    assert casts[next(n for n in function.node if n.op_type == "Sin").output[0] + "/Cast:float16"] > 0


def test_a_wrong_function_does_not_pass(
    graph_of: Graph, model_of: Any, clips: Any, eager: Any, ort: Any, distance: Any, tmp_path: Path
) -> None:
    """Parity is judged on the function: one whose shares are all one fails."""
    graph = made(graph_of, "fastformer")
    path = file_of(graph, "fp32", tmp_path)
    file = onnx.load(path)
    for function in file.functions:
        for node in function.node:
            if node.op_type == "Softmax":
                node.attribute[0].i = -2
    onnx.save(file, path)
    expected = eager(model_of(attn_mechanism="fastformer", **SHAPE), (), clips(2))
    assert distance(ort(path, clips(2))["logits"], expected["logits"]) > 1e-3


def test_constants_of_functions_are_among_the_weights(graph_of: Graph, tmp_path: Path) -> None:
    names = [name for name, _ in weights(file_of(made(graph_of, "performer"), "fp32", tmp_path))]
    assert any(name.startswith("FtsfFavorAttention/") for name in names)


def test_softmax_attention_without_rotation_is_no_node(model_of: Any) -> None:
    with pytest.raises(TypeError, match="regular attention without rotary positions has no plugin"):
        ExportForm(model_of(rotary_emb=False, **SHAPE), ALL, plugins=BOTH)


def test_options_name_what_there_is() -> None:
    with pytest.raises(ValueError, match="plugins: expected some of time, space; got sideways"):
        GraphOptions(plugins=frozenset({"sideways"}))
