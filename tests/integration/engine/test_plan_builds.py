"""Plans of real builds with no GPU: work counted from the network, and gates that fail on graphs that deserve it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsf_export.config import BatchRange
from ftsf_export.engine.audit import audit
from ftsf_export.engine.builder import Engine, build_engine
from ftsf_export.engine.cards import card_of
from ftsf_export.engine.plan_gates import fusion_of, judge_attentions, judge_work
from ftsf_export.engine.request import BuildRequest
from ftsf_export.engine.targets import target_named
from ftsf_export.network.gates import plan_attentions, plan_work
from ftsf_export.network.scope import BLOCKS
from ftsf_export.verdict import Status, Subject

pytest.importorskip("tensorrt_rtx", reason="builds need TensorRT for RTX")

GRAPH = Subject("model.onnx", "0" * 64)
ATTENTIONS, WORK_GATE = plan_attentions("rtx", "rtx-30"), plan_work("rtx", "rtx-30")
ATTENTION = (BLOCKS / 0 / "attn",)
# Of write_attention_block, one clip: tokens, width, heads, head width, classes.
N, D, H, K, CLASSES = 64, 64, 2, 32, 5
WORK = {
    "blocks.0.attn/to_q": 2 * N * D * D,
    "blocks.0.attn/scores": 2 * H * N * N * K,
    "blocks.0.attn/mix": 2 * H * N * N * K,
    "head/linear": 2 * D * CLASSES,
}


@pytest.fixture
def compiled(tmp_path: Path, graphs: Callable[..., Path], order: Callable[..., BuildRequest]) -> Callable[..., Engine]:
    """Compiles the shared graph, its nodes named by module as our exporter does, changed by ``edit``."""
    import onnx

    def build(
        edit: Callable[[Any], None] | None = None, precision: str = "fp16", *, dynamic: bool = False, batch: int = 1
    ) -> Engine:
        model = onnx.load(graphs(precision, dynamic=dynamic))
        for node in model.graph.node:
            node.name = node.name.replace("blocks.0/attn/", "blocks.0.attn/")
        if edit is not None:
            edit(model.graph)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, tmp_path / "graph.onnx")
        one = BatchRange(batch, batch, batch)
        return build_engine(order(tmp_path / "graph.onnx", tmp_path / "graph.engine", precision, batch=one))

    return build


def divide_after_the_product(graph: Any) -> None:
    """softmax(s) v as (exp(s - max) v) / sum: the same numbers, in a form that TensorRT for RTX does not recognise."""
    from onnx import TensorProto, helper

    nodes = list(graph.node)
    softmax = next(node for node in nodes if node.op_type == "Softmax")
    mix = next(node for node in nodes if node.name == "blocks.0.attn/mix")
    graph.initializer.append(helper.make_tensor("last", TensorProto.INT64, (1,), [-1]))
    (scores,), (weights,), (mixed,) = softmax.input, softmax.output, mix.output
    mix.output[0] = "undivided"
    at, after = nodes.index(softmax), nodes.index(mix)
    steps = (("ReduceMax", [scores, "last"], "max"), ("Sub", [scores, "max"], "less"), ("Exp", ["less"], weights))
    new = [helper.make_node(op, ins, [out], name=f"blocks.0.attn/{op}") for op, ins, out in steps]
    new.append(helper.make_node("ReduceSum", [weights, "last"], ["sum"], name="blocks.0.attn/ReduceSum"))
    divide = helper.make_node("Div", ["undivided", "sum"], [mixed], name="blocks.0.attn/Div")
    del graph.node[:]
    graph.node.extend([*nodes[:at], *new, *nodes[at + 1 : after + 1], divide, *nodes[after + 1 :]])


@pytest.mark.parametrize(("dynamic", "batch"), [(False, 1), (True, 3)])
def test_work_is_that_of_the_shapes_also_at_one_batch_of_a_dynamic_graph(
    compiled: Callable[..., Engine], dynamic: bool, batch: int
) -> None:
    engine = compiled(dynamic=dynamic, batch=batch)
    flops = {product.node: product.flops for product in engine.products}
    assert {node: flops[node] for node in WORK} == {node: batch * work for node, work in WORK.items()}
    found = audit(engine.plan, engine.products, card=card_of(target_named("rtx-30")))
    assert found.flops == sum(one.flops or 0 for one in engine.products)
    assert found.unplaced == ()
    assert found.totals.least_ms is not None
    assert found.totals.least_ms > 0
    fusion = fusion_of(engine.plan, engine.products, ATTENTION, batch)
    assert judge_attentions([fusion], "rtx", gate=ATTENTIONS, subject=GRAPH).passed
    assert judge_work(found, "fp16", (), gate=WORK_GATE, subject=GRAPH).passed


def test_a_softmax_that_does_not_fuse_fails_its_gate(compiled: Callable[..., Engine]) -> None:
    engine = compiled(divide_after_the_product)
    fusion = fusion_of(engine.plan, engine.products, ATTENTION, 1)
    found = judge_attentions([fusion], "rtx", gate=ATTENTIONS, subject=GRAPH)
    assert found.status is Status.FAILED
    assert "0 of 1 attentions became one kernel; not fused: blocks.0.attn" in found.reason


def test_an_fp32_graph_is_not_half(compiled: Callable[..., Engine]) -> None:
    engine = compiled(precision="fp32")
    found = audit(engine.plan, engine.products, card=None)
    assert judge_work(found, "fp32", (), gate=WORK_GATE, subject=GRAPH).passed
    half = judge_work(found, "fp16", (), gate=WORK_GATE, subject=GRAPH)
    assert half.status is Status.FAILED
    assert "0.0% of the products' work runs in fp16" in half.reason
