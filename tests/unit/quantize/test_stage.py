"""Graphs of 8 bits: how near they are, in what they compute, and that a fault in them shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from ftsf_export.graph.check import check
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.quantize.equalise import put_value, value_of
from ftsf_export.quantize.observe import observe
from ftsf_export.quantize.sites import MOVES, sites_of
from ftsf_export.quantize.stage import QuantizeOptions, quantize
from ftsf_export.runners.telemetry import import_onnxruntime
from tests.unit.quantize.conftest import VARIANTS, worst

NEAR = 0.15
Graphs = Callable[[str], OnnxModel]
Options = Callable[..., QuantizeOptions]


@pytest.mark.parametrize("for_cpu", [True, False], ids=["cpu", "gpu"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_near_and_nearer_than_the_plain_recipe(
    variant: str, for_cpu: bool, graph_of: Graphs, options_of: Options, clips: list[np.ndarray], logits: Callable
) -> None:
    source = graph_of(variant)
    reference = logits(source)
    made = quantize(source, lambda: clips, options_of(variant, for_cpu=for_cpu))
    check(made.graph)
    error = worst(reference, logits(made.graph, rounded=not for_cpu))
    plain = quantize(source, lambda: clips, options_of(variant, for_cpu=for_cpu, evened=False))
    assert 0 < error < worst(reference, logits(plain.graph, rounded=not for_cpu))
    assert len(made.products) == sum(len(site.products) for site in sites_of(source.model.graph))
    assert set(made.observed) == set(made.ranges)


def test_products_read_integers_and_attention_does_not(
    graph_of: Graphs, options_of: Options, clips: list[np.ndarray]
) -> None:
    made = quantize(graph_of("regular"), lambda: clips, options_of("regular"))
    graph = made.graph.model.graph
    products = [node for node in graph if node.op_type == "MatMul"]
    integers = {str(node.name) for node in products if all(map(comes_from_integers, node.inputs))}
    assert integers == set(made.products)
    # The patch embedding, the head, and two products an attention.
    assert len(products) == len(integers) + 2 + 2 * 4
    weights = (graph.initializers[f"{product.rpartition('/')[0]}.weight"] for product in made.products)
    assert {str(weight.dtype) for weight in weights} == {"INT8"}


def comes_from_integers(value: ir.Value) -> bool:
    maker = value.producer()
    while maker is not None and maker.op_type in MOVES:
        maker = maker.inputs[0].producer()
    return maker is not None and maker.op_type == "DequantizeLinear"


def test_onnx_runtime_multiplies_integers(
    graph_of: Graphs, options_of: Options, clips: list[np.ndarray], tmp_path: Path
) -> None:
    made = quantize(graph_of("timesformer"), lambda: clips, options_of("timesformer", for_cpu=True))
    made.graph.save(tmp_path / "q.onnx")
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(str(tmp_path / "q.onnx"), options, providers=["CPUExecutionProvider"])
    found = Counter(node.op_type for node in onnx.load(str(tmp_path / "optimized.onnx")).graph.node)
    assert found["MatMulIntegerToFloat"] == len(made.products)
    assert found["MatMul"] + found["FusedMatMul"] + found["Gemm"] == 2 + 2 * 4
    assert not found["DequantizeLinear"]


@pytest.mark.parametrize("fault", ["scale", "weight"])
def test_a_planted_fault_is_far_off(
    fault: str, graph_of: Graphs, options_of: Options, clips: list[np.ndarray], logits: Callable
) -> None:
    source = graph_of("timesformer")
    made = quantize(source, lambda: clips, options_of("timesformer", for_cpu=True))
    reference = logits(source)
    assert worst(reference, logits(made.graph)) < NEAR
    graph = made.graph.model.graph
    if fault == "scale":
        node = next(n for n in graph if n.name == "blocks.0.mlp/Gelu/DequantizeLinear")
        doubled = ir.Value(name="doubled", shape=ir.Shape(()))
        put_value(doubled, value_of(node.inputs[1]) * np.float32(2))
        graph.initializers.add(doubled)
        node.replace_input_with(1, doubled)
    else:
        one, other = (graph.initializers[f"blocks.{block}.mlp.fc1.weight"] for block in (0, 1))
        numbers = value_of(one)
        put_value(one, value_of(other))
        put_value(other, numbers)
    assert worst(reference, logits(made.graph)) > NEAR


def test_what_is_observed(graph_of: Graphs, clips: list[np.ndarray], tmp_path: Path) -> None:
    source = graph_of("regular")
    source.save(tmp_path / "a.onnx")
    name = sites_of(source.model.graph)[0].name
    two, all_four = (observe(tmp_path / "a.onnx", [name], clips[:n])[name] for n in (2, 4))
    assert (all_four.channel_max >= two.channel_max).all()
    assert all_four.histogram.largest == all_four.channel_max.max()
    assert all_four.tokens == 2 * two.tokens
    assert all_four.histogram.counts.sum() == all_four.tokens * 64
    with pytest.raises(ValueError, match="expected a clip at least"):
        observe(tmp_path / "a.onnx", [name], [])
    with pytest.raises(ValueError, match="not finite on a calibration clip"):
        observe(tmp_path / "a.onnx", [name], [clips[0] * np.float32("nan")])
