"""The FP32 graph in ONNX Runtime is the model: every tap and the logits, exact shapes, any batch and depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from fast_timesformer.model import FastTimeSformer
from ftsf_export.config import BatchRange
from ftsf_export.graph.check import check, check_file
from ftsf_export.graph.export import GraphOptions
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.node_scopes import scope_of
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.graph.rewrite import ALL

LIMIT = 1e-5
# Every mechanism with every type; depths at which nothing, one block and several blocks are repeated.
CASES: dict[str, dict[str, Any]] = {
    "fastformer divided, repeated once": {"attn_mechanism": "fastformer", "depth": 3, "batch": "1:2:4"},
    "fastformer joint": {"attn_mechanism": "fastformer", "attn_type": "joint", "qkv_bias": True},
    "fastformer space": {"attn_mechanism": "fastformer", "attn_type": "space"},
    # 4 features: within a frame the linear order of the products is the cheaper one.
    "performer divided": {"attn_mechanism": "performer", "performer_features": 4},
    "performer joint, repeated": {"attn_mechanism": "performer", "attn_type": "joint", "depth": 5},
    "performer space": {"attn_mechanism": "performer", "attn_type": "space", "depth": 1, "batch": "1:2:4"},
    "regular divided, repeated": {"depth": 5},
    "regular joint, one block": {"attn_type": "joint", "depth": 1, "batch": "2"},
    "regular space": {"attn_type": "space"},
    "regular divided, as pretrained, no rewrite": {
        "rewrites": frozenset(),
        "depth": 3,
        "qkv_bias": True,
        "mlp_act": "gelu",
        "rotary_emb": False,
        "learned_emb": "factored",
        "norm_eps": 1e-6,
    },
}
ATTENTION = {"depth": 3, "batch": "1:2:4", "opset": 23, "attention_operator": True, "disturbed": False}
GRAPH_ONLY = ("batch", "rewrites", "opset", "attention_operator")

Make = Callable[..., Any]


def model_options(case: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in case.items() if name not in GRAPH_ONLY}


@pytest.fixture
def file_of(graph_of: Callable[..., OnnxModel], tmp_path: Path) -> Callable[..., tuple[OnnxModel, Path]]:
    """The graph of a case, checked and written."""

    def make(case: dict[str, Any]) -> tuple[OnnxModel, Path]:
        graph = graph_of(**case)
        check(graph)
        path = tmp_path / "model.onnx"
        assert graph.save(path) == (path,)
        check_file(path)
        return graph, path

    return make


@pytest.mark.parametrize("case", CASES)
def test_every_tap_and_the_logits(
    file_of: Make, model_of: Make, clips: Make, eager: Make, ort: Make, distance: Make, case: str
) -> None:
    graph, path = file_of(CASES[case])
    model: FastTimeSformer = model_of(**model_options(CASES[case]))
    batch = BatchRange.parse(CASES[case].get("batch", "1"))
    for count in range(batch.minimum, batch.maximum + 1):
        clip = clips(count)
        got, expected = ort(path, clip, graph.taps), eager(model, graph.taps, clip)
        assert list(got) == list(expected)
        assert {name: d for name in got if not (d := distance(got[name], expected[name])) <= LIMIT} == {}


def test_softmax_attention_as_the_operator(
    file_of: Make, model_of: Make, clips: Make, eager: Make, ort: Make, distance: Make
) -> None:
    graph, path = file_of(ATTENTION)
    where = [scope_of(node) for node in graph.model.graph if node.op_type == "Attention"]
    assert where == [f"blocks.{i}.{name}.attn.core" for i in range(3) for name in ("temporal", "spatial")]
    assert (graph.opset, graph.model.opset_imports) == (23, {"": 23})
    for count in (1, 4):
        got = ort(path, clips(count), graph.taps)
        expected = eager(model_of(**model_options(ATTENTION)), graph.taps, clips(count))
        assert {name: d for name in got if not (d := distance(got[name], expected[name])) <= LIMIT} == {}


@pytest.mark.parametrize("case", ["regular divided, repeated", "performer joint, repeated"])
def test_a_block_with_another_ones_weights_is_noticed(
    file_of: Make, model_of: Make, clips: Make, eager: Make, ort: Make, distance: Make, case: str
) -> None:
    """The comparison above fails in every repeated block, at the tap where the weights are wrong."""
    graph, path = file_of(CASES[case])
    clip = clips(1)
    taps = [tap for tap in graph.taps if tap.name.endswith(".mlp")]
    expected = eager(model_of(**model_options(CASES[case])), taps, clip)
    for index in (1, 2, 3):
        altered = ir.load(path)
        mine, other = (
            altered.graph.initializers[f"blocks.{i}.mlp.fc2.weight"] for i in (index, index + 1 if index < 3 else 1)
        )
        mine.const_value = other.const_value
        ir.save(altered, path.with_name("altered.onnx"))
        got = ort(path.with_name("altered.onnx"), clip, taps)
        wrong = [name for name in got if not distance(got[name], expected[name]) <= LIMIT]
        assert wrong == ["logits", *(tap.name for tap in taps[index:])]


@pytest.mark.parametrize(
    ("case", "batch"), [("fastformer divided, repeated once", "batch"), ("regular joint, one block", "2")]
)
def test_input_and_output(graph_of: Make, case: str, batch: str) -> None:
    graph = graph_of(**CASES[case]).model.graph
    ((clip,), (logits,)) = graph.inputs, graph.outputs
    assert [(value.name, value.dtype) for value in (clip, logits)] == [
        ("clip", ir.DataType.FLOAT),
        ("logits", ir.DataType.FLOAT),
    ]
    assert [str(size) for size in clip.shape] == [batch, "3", "3", "32", "48"]
    assert [str(size) for size in logits.shape] == [batch, "7"]


@pytest.mark.parametrize("case", ["fastformer divided, repeated once", "regular divided, repeated"])
def test_blocks_have_the_same_nodes(graph_of: Make, case: str) -> None:
    """What is repeated is the first block; the last computes less."""
    counts: dict[str, Counter[str]] = {}
    for node in graph_of(**CASES[case]).model.graph:
        block = scope_of(node).region
        counts.setdefault(block, Counter())[node.op_type] += 1
    last = CASES[case]["depth"] - 1
    assert all(counts[f"blocks.{i}"] == counts["blocks.0"] for i in range(1, last))
    assert counts[f"blocks.{last}"].total() != counts["blocks.0"].total()


@pytest.mark.parametrize("case", ["fastformer divided, repeated once", "regular divided, repeated"])
def test_every_constant_is_the_forms_own(graph_of: Make, model_of: Make, case: str) -> None:
    """All blocks differ: a weight that two of them share by accident would be missing, or wrong in one."""
    parameters = dict(ExportForm(model_of(**model_options(CASES[case])), ALL).named_parameters())
    constants = {
        name: value.const_value.numpy()
        for name, value in graph_of(**CASES[case]).model.graph.initializers.items()
        if value.dtype == ir.DataType.FLOAT and value.shape.rank() > 0
    }
    assert constants.keys() == parameters.keys()
    for name, constant in constants.items():
        np.testing.assert_array_equal(constant, parameters[name].numpy(), err_msg=name)


def test_equal_weights_stay_apart(graph_of: Make) -> None:
    """Fresh from the seed all biases are zero and all gains one: each module keeps its own all the same."""
    constants = graph_of(**ATTENTION).model.graph.initializers
    owners = [f"blocks.{i}.{name}" for i in range(3) for name in ("temporal", "spatial")]
    gains = [constants[f"{owner}.norm.weight"] for owner in owners]
    shifts = [constants[f"{owner}.norm.bias"] for owner in owners]
    assert all((value.const_value.numpy() == 1).all() for value in gains)
    assert not any(value.const_value.numpy().any() for value in shifts)


def test_counts(graph_of: Make, model_of: Make) -> None:
    graph = graph_of(depth=5)
    floats = [v.const_value.numpy() for v in graph.model.graph.initializers.values() if v.dtype == ir.DataType.FLOAT]
    assert graph.parameter_count == sum(array.size for array in floats)
    assert graph.weight_bytes == 4 * graph.parameter_count
    # Rewrites and tables change little.
    own = sum(parameter.numel() for parameter in model_of(depth=5).parameters())
    assert 0.9 * own < graph.parameter_count < 1.1 * own
    assert graph.node_count == len(list(graph.model.graph)) < 5 * 110


def test_what_cannot_be_asked() -> None:
    with pytest.raises(ValueError, match=r"rewrites: expected names of .*class-tail.*; got clas-tail"):
        GraphOptions(rewrites=frozenset({"clas-tail", "temporal-fc"}))
    with pytest.raises(ValueError, match="opset: the Attention operator needs 23 or later, got 20"):
        GraphOptions(attention_operator=True)
