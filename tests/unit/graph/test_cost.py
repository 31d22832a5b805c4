"""The products counted by shapes alone are those of the exported graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import onnx_ir as ir
import pytest

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.cost import Cost, measure_work
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.graph.rewrite import ALL, rewrite_named

CONFIG = TimeSformerConfig(2, 3, 32, 48, 10, dim=64, depth=2, heads=2, dim_head=32)
MECHANISMS = ("regular", "fastformer", "performer")
# Graphs that other tests of this folder take as well, so that they are made once. Regular's blocks are repeated;
# with 4 features FAVOR+ takes either of its orders of products.
GRAPHS: dict[str, dict[str, Any]] = {
    "regular": {"depth": 5},
    "fastformer": {"attn_mechanism": "fastformer", "depth": 3, "dim_head": 32},
    "performer": {"attn_mechanism": "performer", "performer_features": 4},
}


def products_in(graph: OnnxModel) -> int:
    """Two operations a multiplication and addition, over the ``MatMul`` nodes of the real export."""
    total = 0
    for node in graph.model.graph:
        if node.op_type == "MatMul":
            left, result = node.inputs[0], node.outputs[0]
            assert left is not None
            assert isinstance(left.shape, ir.Shape)
            assert isinstance(result.shape, ir.Shape)
            total += 2 * math.prod(result.shape.numpy()) * int(left.shape.numpy()[-1])
    return total


@pytest.mark.parametrize("attn", GRAPHS)
def test_the_graphs_products_are_counted_exactly(
    attn: str, model_of: Callable[..., FastTimeSformer], graph_of: Callable[..., OnnxModel]
) -> None:
    config = model_of(**GRAPHS[attn]).config
    assert measure_work(config, ALL).graph.flops == products_in(graph_of(**GRAPHS[attn]))


@pytest.mark.parametrize("attn_type", ["divided", "joint", "space"])
@pytest.mark.parametrize("attn", MECHANISMS)
def test_deep_models_lie_on_the_line_of_two_small_ones(attn: str, attn_type: str) -> None:
    deep = replace(CONFIG, attn_mechanism=attn, attn_type=attn_type, depth=6)
    found = measure_work(deep, frozenset())
    model = FastTimeSformer.from_config(deep)
    assert found.eager.parameters == sum(parameter.numel() for parameter in model.parameters())
    each = [measure_work(replace(deep, depth=depth), frozenset()).graph for depth in (1, 2)]
    assert found.graph == each[0] + (each[1] - each[0]) * 5


def test_each_rewrite_is_told_with_what_it_saves() -> None:
    found = {one.name: one for one in measure_work(replace(CONFIG, attn_mechanism="regular"), ALL).savings}
    assert set(found) == ALL
    tokens, dim = 2 * 6, CONFIG.dim
    # One product of D x D for each token of the temporal branch, in each block; the class token takes no part.
    assert found["temporal-fc"].saved.flops == 2 * CONFIG.depth * tokens * dim * dim
    assert found["class-tail"].saved.flops > 0
    assert found["softmax-scale"].saved == Cost(0, 0)
    assert all(rewrite_named(name).summary for name in ALL)


def test_without_rewrites_nothing_is_saved() -> None:
    assert measure_work(CONFIG, frozenset()).savings == ()
