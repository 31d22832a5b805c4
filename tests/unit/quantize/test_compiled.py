"""What TensorRT for RTX makes of the form for GPUs. No export offers it yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ftsf_export.engine.audit import audit
from ftsf_export.engine.request import GraphFacts
from ftsf_export.engine.targets import target_named
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.pipeline.plan_bundle import compile_at
from ftsf_export.quantize.stage import QuantizeOptions, quantize

pytest.importorskip("tensorrt_rtx", reason="compiles an engine")


def test_products_with_a_weight_read_integers_and_attention_stays_fused_in_half(
    graph_of: Callable[[str], OnnxModel],
    options_of: Callable[..., QuantizeOptions],
    clips: list[np.ndarray],
    tmp_path: Path,
) -> None:
    made = quantize(graph_of("regular"), lambda: clips[:1], options_of("regular"))
    made.graph.save(tmp_path / "model.onnx")
    facts = GraphFacts.of_any(tmp_path / "model.onnx", {"clip": clips[0].shape})
    engine = compile_at(facts, "rtx", target_named("rtx-30"))
    read = {product.node: product.types for product in engine.products}
    assert {node for node, types in read.items() if types == ("int8", "int8")} == set(made.products)
    assert {types for node, types in read.items() if node not in made.products} == {("fp16", "fp16")}
    figures = audit(engine.plan, engine.products, card=None).figures()
    assert figures.fused_attentions == 4
    wanted = sum(product.flops or 0 for product in engine.products if product.node in made.products)
    assert figures.gemm_flops_by_type["int8"] >= 0.99 * wanted > 0
