"""The plan's gates, each with a plan in which it fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.engine.audit import Audit, audit
from ftsf_export.engine.kernel_plan import Kernel, Plan, Tensor
from ftsf_export.engine.plan_gates import Fusion, attentions_to_fuse, fusion_of, judge_attentions, judge_work
from ftsf_export.engine.request import Product
from ftsf_export.network.gates import plan_attentions, plan_work
from ftsf_export.network.scope import SPATIAL, TEMPORAL, Scope
from ftsf_export.verdict import Status, Subject, Verdict

GRAPH = Subject("model.onnx", "0" * 64)
ATTENTIONS, WORK_GATE = plan_attentions("rtx", "rtx-30"), plan_work("rtx", "rtx-30")
EXPECTED = (TEMPORAL.attention(0), SPATIAL.attention(0))


def gemm(node: str, dtype: str = "fp16") -> Kernel:
    operand = Tensor(f"{node}:in", (8, 64), dtype)
    return Kernel(f"{node}_U1", "gemm", (operand,), (operand,), (operand,), (node,), "")


def fused(module: str) -> Kernel:
    operand = Tensor("x", (8, 8, 64), "fp16")
    nodes = tuple(f"{module}.core/{name}" for name in ("MatMul", "Softmax", "MatMul_1"))
    return Kernel("_gemm_mha_v2_myl0_1", "kgen", (operand,) * 3, (), (operand,), nodes, "")


def read(*kernels: Kernel, unread: tuple[str, ...] = ()) -> Audit:
    products = tuple(
        Product(node, "MATRIX_MULTIPLY", ("fp16",), 100)
        for kernel in kernels
        for node in kernel.nodes
        if "MatMul" in node
    )
    return audit(Plan(kernels, unread=unread), products, card=None)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 4),
        ({"attn_type": "joint"}, 2),
        ({"attn_type": "space"}, 2),
        ({"attn_mechanism": "fastformer"}, 0),
        ({"attn_type": "joint", "dim": 64}, 0),  # one head, one clip: a lone matrix of scores
        ({"attn_type": "divided", "dim": 64}, 4),
    ],
)
def test_which_attentions_are_expected_to_fuse(changes: dict[str, Any], count: int) -> None:
    regular = TimeSformerConfig(
        frames=8, channels=3, height=32, width=32, num_classes=5, depth=2, attn_mechanism="regular"
    )
    config = replace(regular, **changes)
    assert len(attentions_to_fuse(config, "fp16", 1)) == count
    assert attentions_to_fuse(config, "fp32", 1) == ()


def fusion(*kernels: Kernel, batch: int = 1, problem: str = "", expected: tuple[Scope, ...] = EXPECTED) -> Fusion:
    products = [Product(node, "MATRIX_MULTIPLY", ("fp16",)) for kernel in kernels for node in kernel.nodes]
    return fusion_of(Plan(kernels, problem=problem), products, expected, batch)


def judged(*fusions: Fusion, builder: str = "rtx") -> Verdict:
    return judge_attentions(fusions, builder, gate=ATTENTIONS, subject=GRAPH)


WHOLE = tuple(map(fused, EXPECTED))
PIECES = (fused(EXPECTED[0]), gemm(f"{EXPECTED[1]}.core/MatMul"), gemm(f"{EXPECTED[1]}.core/MatMul_1"))
UNKNOWN = (fused(EXPECTED[0]), replace(fused(EXPECTED[1]), name="__fmhsa_0"))


def test_all_attentions_in_one_kernel_each_pass() -> None:
    found = judged(fusion(*WHOLE))
    assert found.passed
    assert found.gate == "plan.attentions-rtx-rtx-30"
    assert judged(fusion(*WHOLE), fusion(*WHOLE, batch=8)).passed


@pytest.mark.parametrize("builder", ["rtx", "tensorrt"])
def test_an_attention_in_pieces_fails_and_is_named_with_its_nodes(builder: str) -> None:
    found = judged(fusion(*PIECES), builder=builder)
    assert found.status is Status.FAILED
    assert "1 of 2 attentions" in found.reason
    assert (
        "blocks.0.spatial.attn (blocks.0.spatial.attn.core/MatMul, blocks.0.spatial.attn.core/MatMul_1)" in found.reason
    )
    assert not found.measures[1].passed


@pytest.mark.parametrize("builder", ["rtx", "tensorrt"])
def test_fusion_that_is_lost_at_the_largest_batch_alone_fails(builder: str) -> None:
    found = judged(fusion(*WHOLE), fusion(*WHOLE, batch=4), fusion(*PIECES, batch=16), builder=builder)
    assert found.status is Status.FAILED
    assert "1 of 2 attentions became one kernel at batch 16; not fused: blocks.0.spatial.attn (" in found.reason
    assert [m.output for m in found.measures if not m.passed] == ["attentions at batch 16"]


def test_a_batch_of_which_nothing_is_known_is_no_pass() -> None:
    unread = fusion(batch=16, problem="not compiled at batch 16 alone: refused")
    found = judged(fusion(*WHOLE), unread)
    assert found.status is Status.INCONCLUSIVE
    assert found.reason == unread.problem
    # What is known to be lost elsewhere counts all the same.
    assert judged(fusion(*PIECES), unread).status is Status.FAILED


def test_a_name_that_only_begins_alike_is_another_module() -> None:
    assert fusion(fused("blocks.10.spatial.attn"), expected=(SPATIAL.attention(1),)).fused == ()


def test_a_kernel_of_another_compiler_with_an_unknown_name_is_told_and_not_judged() -> None:
    found = judged(fusion(*UNKNOWN), builder="tensorrt")
    assert found.status is Status.NOT_RUN
    assert "1 of 2 attentions were found fused by name" in found.reason
    # TensorRT for RTX has no other names.
    assert judged(fusion(*UNKNOWN)).status is Status.FAILED


def test_expecting_nothing_is_no_evidence() -> None:
    with pytest.raises(ValueError, match="nothing to judge"):
        judged(fusion(expected=()))


def test_work_in_the_precision_asked_for_passes() -> None:
    found = judge_work(read(gemm("a/MatMul"), gemm("b/MatMul")), "fp16", (), gate=WORK_GATE, subject=GRAPH)
    assert found.passed
    assert found.measures[0].value == 1


def test_work_in_another_precision_fails_and_its_nodes_are_named() -> None:
    found = judge_work(read(gemm("a/MatMul"), gemm("b/MatMul", "fp32")), "fp16", (), gate=WORK_GATE, subject=GRAPH)
    assert found.status is Status.FAILED
    assert "50.0% of the products' work runs in fp16, expected 99%: b/MatMul in fp32" in found.reason


def test_work_in_an_island_is_not_judged_but_some_work_must_be() -> None:
    plan = read(gemm("a/MatMul"), gemm("b/MatMul", "fp32"))
    assert judge_work(plan, "fp16", ("b",), gate=WORK_GATE, subject=GRAPH).passed
    nothing = judge_work(plan, "fp16", ("a", "b"), gate=WORK_GATE, subject=GRAPH)
    assert nothing.status is Status.FAILED
    assert "no product outside the FP32 islands" in nothing.reason


def test_a_plan_with_unread_lines_decides_nothing() -> None:
    found = judge_work(
        read(gemm("a/MatMul"), unread=("Name: x, Surprise: y",)), "fp16", (), gate=WORK_GATE, subject=GRAPH
    )
    assert found.status is Status.INCONCLUSIVE
    assert "Surprise" in found.reason
