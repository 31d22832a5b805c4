"""The types gate: passes what ran as asked, and fails each way in which it did not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ftsf_export.engine.kernel_plan import Kernel, Plan, Tensor
from ftsf_export.engine.request import Product
from ftsf_export.engine.types import in_islands, judge_types
from ftsf_export.network.gates import engine_types
from ftsf_export.verdict import Status, Subject, Verdict

ReadPlan = Callable[[str], Plan]
ReadProducts = Callable[[str], tuple[Product, ...]]

ISLANDS = ("b/projk", "b/projq")


def judge(plan: Plan, precision: str, products: tuple[Product, ...], **more: object) -> Verdict:
    return judge_types(
        plan,
        precision,
        gate=engine_types("rtx", "rtx-30"),
        subject=Subject("engines/rtx-rtx-30-fp16.engine", "0" * 64),
        products=products,
        **more,  # type: ignore[arg-type]
    )


def measure(verdict: Verdict, output: str, metric: str) -> float:
    (found,) = [m.value for m in verdict.measures if m.output == output and m.metric.startswith(metric)]
    return found


@pytest.mark.parametrize(
    ("name", "precision", "islands", "judged"),
    [
        ("attention_fp16", "fp16", (), 5),
        ("attention_fp16_dynamic", "fp16", (), 5),
        ("attention_fp32", "fp32", (), 6),
        ("islands_fp16", "fp16", ISLANDS, 7),
        ("islands_fp16", "fp16", ("*/projk", "*/projq"), 7),
        # One product written as repetitions, multiplications and sums: three kernels in its place.
        ("pieces_fp16", "fp16", (), 6),
        # A product with a Cast node drawn into it: FP32 comes in, and half is multiplied.
        ("cast_inside_fp16", "fp16", (), 1),
    ],
)
def test_what_ran_as_asked_passes(
    recorded: ReadPlan,
    recorded_products: ReadProducts,
    name: str,
    precision: str,
    islands: tuple[str, ...],
    judged: int,
) -> None:
    verdict = judge(recorded(name), precision, recorded_products(name), islands=islands)
    assert verdict.status is Status.PASSED, verdict.reason
    assert measure(verdict, "gemm and attention kernels", "judged") == judged


@pytest.mark.parametrize(
    ("name", "asked"),
    [("attention_fp32", "fp16"), ("attention_fp32", "bf16"), ("attention_fp16", "fp32"), ("attention_fp16", "bf16")],
)
def test_another_precision_than_asked_fails_by_both_readings(
    recorded: ReadPlan, recorded_products: ReadProducts, name: str, asked: str
) -> None:
    plan, products = recorded(name), recorded_products(name)
    verdict = judge(plan, asked, products)
    assert verdict.status is Status.FAILED
    assert "blocks.0/attn/to_qkv" in verdict.reason
    assert measure(verdict, "network products", "with operands") == len(products)
    assert measure(verdict, "gemm and attention kernels", "with operands") == len(plan.products)
    assert not all(m.passed for m in verdict.measures)


def test_the_compiler_alone_lowering_one_product_fails(recorded: ReadPlan, recorded_products: ReadProducts) -> None:
    # The network asked for half, and the last product's kernel reads FP32.
    plan = recorded("attention_fp16")
    last = plan.kernels[-1]
    lowered = replace(
        last,
        inputs=tuple(replace(t, dtype="fp32") for t in last.inputs),
        constants=tuple(replace(t, dtype="fp32") for t in last.constants),
    )
    verdict = judge(replace(plan, kernels=(*plan.kernels[:-1], lowered)), "fp16", recorded_products("attention_fp16"))
    assert verdict.status is Status.FAILED
    assert "blocks.0/mlp/fc2 [__myl_FcCast_myl0_5: fp32 [1, 64, 256], fp32 [1, 256, 64]]" in verdict.reason
    assert measure(verdict, "gemm and attention kernels", "with operands") == 1
    assert measure(verdict, "network products", "with operands") == 0


def test_the_graph_alone_asking_for_fp32_fails(recorded: ReadPlan, recorded_products: ReadProducts) -> None:
    first, *rest = recorded_products("attention_fp16")
    verdict = judge(recorded("attention_fp16"), "fp16", (replace(first, types=("fp32", "fp32")), *rest))
    assert verdict.status is Status.FAILED
    assert "the graph asks for other types than fp16: blocks.0/attn/to_qkv (fp32, fp32)" in verdict.reason


def test_an_fp32_operand_in_one_attention_fails(recorded: ReadPlan, recorded_products: ReadProducts) -> None:
    plan = recorded("attention_fp16")
    kernels = tuple(
        replace(k, inputs=(*k.inputs[:2], replace(k.inputs[2], dtype="fp32"))) if k.is_attention else k
        for k in plan.kernels
    )
    verdict = judge(replace(plan, kernels=kernels), "fp16", recorded_products("attention_fp16"))
    assert verdict.status is Status.FAILED
    assert "_gemm_mha_v2" in verdict.reason


def test_fp32_outside_the_islands_fails(recorded: ReadPlan, recorded_products: ReadProducts) -> None:
    verdict = judge(recorded("islands_fp16"), "fp16", recorded_products("islands_fp16"), islands=("b/projk",))
    assert verdict.status is Status.FAILED
    assert "b/projq" in verdict.reason
    assert "b/projk" not in verdict.reason
    assert measure(verdict, "gemm and attention kernels", "inside FP32 islands") == 1


def test_a_product_in_pieces_that_reads_fp32_alone_fails(recorded: ReadPlan, recorded_products: ReadProducts) -> None:
    plan = recorded("pieces_fp16")

    def in_fp32(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(replace(t, dtype="fp32") for t in tensors)

    kernels = tuple(
        replace(k, inputs=in_fp32(k.inputs), constants=in_fp32(k.constants)) if k.nodes == ("alog",) else k
        for k in plan.kernels
    )
    verdict = judge(replace(plan, kernels=kernels), "fp16", recorded_products("pieces_fp16"))
    assert verdict.status is Status.FAILED
    assert "alog [" in verdict.reason


def test_a_residual_in_fp32_beside_a_half_product_passes() -> None:
    half, full = Tensor("a", (64, 64), "fp16"), Tensor("r", (64, 64), "fp32")
    kernel = Kernel("__myl_FcCastAdd_myl0_3", "runtime_fusion", (full, half), (half,), (full,), ("fc", "add"), "")
    assert judge(Plan((kernel,)), "fp16", (Product("fc", "MATRIX_MULTIPLY", ("fp16", "fp16")),)).passed
    # The other way round: FP32 is multiplied, and the half residual added after.
    kernel = replace(kernel, inputs=(half, full), constants=(full,))
    assert not judge(Plan((kernel,)), "fp16", (Product("fc", "MATRIX_MULTIPLY", ("fp16", "fp16")),)).passed


def test_fp32_with_tf32_allowed_fails(recorded: ReadPlan, recorded_products: ReadProducts) -> None:
    plan, products = recorded("attention_fp32"), recorded_products("attention_fp32")
    verdict = judge(plan, "fp32", products, tf32=True)
    assert verdict.status is Status.FAILED
    assert "TF32" in verdict.reason
    tactic = replace(plan.products[0], tactic="sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n")
    assert judge(replace(plan, kernels=(*plan.kernels, tactic)), "fp32", products).status is Status.FAILED
    # In half precision nothing is left for TF32 to round.
    assert judge(recorded("attention_fp16"), "fp16", recorded_products("attention_fp16"), tf32=True).passed


def test_no_evidence_is_not_green(recorded: ReadPlan, recorded_products: ReadProducts) -> None:
    plan, products = recorded("attention_fp16"), recorded_products("attention_fp16")
    none = replace(plan, kernels=tuple(k for k in plan.kernels if not k.is_product))
    for bare_plan, bare_products in ((none, products), (plan, ()), (Plan((), problem="it was cut short"), products)):
        verdict = judge(bare_plan, "fp16", bare_products)
        assert verdict.status is Status.INCONCLUSIVE
        assert f"the network shows {len(bare_products)} products" in verdict.reason
    assert "and the plan 0: it was cut short" in verdict.reason


def test_what_could_not_be_read_is_not_green(recorded: ReadPlan, recorded_products: ReadProducts) -> None:
    plan = replace(recorded("attention_fp16"), unread=("Name of another grammar",))
    verdict = judge(plan, "fp16", recorded_products("attention_fp16"))
    assert verdict.status is Status.INCONCLUSIVE
    assert "Name of another grammar" in verdict.reason


def test_islands_everywhere_are_not_green(recorded: ReadPlan, recorded_products: ReadProducts) -> None:
    verdict = judge(recorded("attention_fp32"), "fp16", recorded_products("attention_fp32"), islands=("blocks.0",))
    assert verdict.status is Status.INCONCLUSIVE


def test_both_operands_cast_inside_one_kernel_pass() -> None:
    full = Tensor("a", (17, 266), "fp32")
    kernel = Kernel("__myl_CastCastTranReshMoveMulSum_myl0_31", "kgen", (full, full), (), (full,), ("core/MatMul",), "")
    products = (Product("core/MatMul", "MATRIX_MULTIPLY", ("fp16", "fp16")),)
    assert judge(Plan((kernel,)), "fp16", products).passed
    assert not judge(Plan((replace(kernel, name="__myl_TranReshMoveMulSum_myl0_31"),)), "fp16", products).passed
    # A cast after the product is no excuse for what it read.
    for name, passed in (("__myl_CastCastFcAdd_myl0_3", True), ("__myl_FcCastCast_myl0_3", False)):
        assert judge(Plan((replace(kernel, name=name),)), "fp16", products).passed is passed


@pytest.mark.parametrize(
    ("node", "scope", "inside"),
    [
        ("blocks.0/attn/mix", "blocks.0/attn/mix", True),
        ("blocks.0/attn/mix", "blocks.0/attn", True),
        ("blocks.0.attn.softmax/Exp", "blocks.*.attn.softmax", True),
        ("blocks.0/attn2/mix", "blocks.0/attn", False),
        ("blocks.10/attn", "blocks.1", False),
        ("head", "blocks", False),
        ("head", "", False),
    ],
)
def test_scopes_of_islands(node: str, scope: str, inside: bool) -> None:
    assert in_islands(node, (scope,)) is inside


@pytest.mark.parametrize(("maker", "status"), [("a.core.turns/Cos", Status.PASSED), ("a/Cos", Status.FAILED)])
def test_an_attention_may_read_what_an_fp32_island_made(maker: str, status: Status) -> None:
    """The cast behind the island runs inside the attention; FP32 from elsewhere was lowered behind our back."""
    table = Tensor("table", (8, 1, 32), "fp32")
    tokens = Tensor("tokens", (1, 1576, 512), "fp16")
    make = Kernel("__myl_Cos_1", "kgen", (), (), (table,), (maker,), "")
    node = "a.core.pool_q/MatMul"
    attend = Kernel("_gemv_mha_v1_myl0_6", "kgen", (table, tokens, tokens), (), (tokens,), (node,), "")
    products = (Product(node, "MATRIX_MULTIPLY", ("fp16", "fp16")),)
    found = judge(Plan((make, attend)), "fp16", products, islands=("a.core.turns",))
    assert found.status is status
