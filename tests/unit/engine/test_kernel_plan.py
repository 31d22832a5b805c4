"""The plan: kernels, bytes, types and nodes as recorded from real builds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ftsf_export.engine.grammar import GrammarError, LayerRecord
from ftsf_export.engine.kernel_plan import Plan, Tensor, dtype_named, plan_from_layers, plan_from_log
from ftsf_export.plan_record import Memory

ReadPlan = Callable[[str], Plan]

# The recorded attention block: 64 tokens, width 64, 2 heads of 32, MLP of 256; weights and activations in half.
TOKENS, WIDTH, HIDDEN = 64, 64, 256


def test_a_half_precision_block_kernel_by_kernel(recorded: ReadPlan) -> None:
    plan = recorded("attention_fp16")
    assert [kernel.kind for kernel in plan.kernels] == ["kgen", "gemm", "kgen", *["runtime_fusion"] * 3]
    assert plan.unread == ()
    norm, qkv, attention, *_ = plan.kernels
    activation, half = TOKENS * WIDTH, 2
    # The clip in FP32, gain and bias, and two halves out: the cast clip is kept for the residual.
    assert norm.moved_bytes == activation * 4 + 2 * WIDTH * half + 2 * activation * half
    # One product for q, k and v; its alpha and beta are two FP32 numbers.
    assert qkv.moved_bytes == activation * half + 3 * WIDTH * WIDTH * half + 3 * activation * half + 2 * 4
    assert attention.moved_bytes == 4 * activation * half
    assert plan.moved_bytes == sum(kernel.moved_bytes or 0 for kernel in plan.kernels) == 311_560


def test_nodes_behind_a_fused_kernel(recorded: ReadPlan) -> None:
    plan = recorded("attention_fp16")
    (attention,) = [kernel for kernel in plan.kernels if kernel.is_attention]
    block = "blocks.0/attn"
    assert attention.nodes == (f"{block}/mix", f"{block}/softmax", f"{block}/scale", f"{block}/scores")
    assert [t.dtype for t in attention.operands] == ["fp16"] * 3
    assert plan.fused_attentions == 1


def test_products_and_their_operand_types(recorded: ReadPlan) -> None:
    assert recorded("attention_fp16").operand_types() == {"fp16": 5}
    assert recorded("attention_fp32").operand_types() == {"fp32": 6}
    assert recorded("islands_fp16").operand_types() == {"fp16": 7, "fp32": 2}
    fp32 = recorded("attention_fp32")
    assert fp32.fused_attentions == 0
    assert fp32.layer_types() == {"gemm": 4, "kgen": 3, "runtime_fusion": 2}


def test_softmax_and_layernorm_are_no_products(recorded: ReadPlan) -> None:
    plan = recorded("islands_fp16")
    others = [kernel for kernel in plan.kernels if not kernel.is_product]
    assert len(plan.products) == 9
    assert len(others) == 11
    assert all(kernel.operations for kernel in others)


def test_signals_and_waits_are_no_kernels(recorded: ReadPlan, data: Path) -> None:
    plan = recorded("two_streams_fp16")
    lines = (data / "two_streams_fp16.log").read_text(encoding="utf-8").splitlines()
    waits = [line for line in lines if "LayerType: signal" in line or "LayerType: wait" in line]
    assert len(waits) == 4
    assert len(plan.kernels) == sum("LayerType" in line for line in lines) - len(waits) == 7


def test_memory_of_the_engine(recorded: ReadPlan) -> None:
    memory = recorded("attention_fp16").memory
    # qkv, output projection and MLP in half, gain and bias; each starts at a multiple of 256 bytes.
    exact = 2 * (4 * WIDTH * WIDTH + 2 * WIDTH * HIDDEN + 2 * WIDTH)
    assert memory.weights_bytes == exact + 2 * (256 - 2 * WIDTH)
    assert memory.scratch_bytes == memory.activation_bytes == 8_249_344
    assert recorded("two_streams_fp16").memory == Memory(None, None, None)


def test_a_dynamic_batch_has_types_but_no_sizes(recorded: ReadPlan) -> None:
    plan = recorded("attention_fp16_dynamic")
    assert plan.moved_bytes is None
    assert plan.fused_attentions == 1
    assert plan.operand_types() == {"fp16": 5}
    # The shape arithmetic around a dynamic reshape runs on the host.
    assert {kernel.kind for kernel in plan.kernels} == {"kgen", "gemm", "runtime_fusion"}


def test_an_unknown_line_is_kept_for_users_and_raised_for_us(data: Path) -> None:
    lines = (data / "attention_fp16.log").read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if "LayerType: gemm" in line)
    lines[at] = "A line of another compiler"
    with pytest.raises(GrammarError, match="A line of another"):
        plan_from_log(lines, strict=True)
    plan = plan_from_log(lines)
    assert plan.unread == ("A line of another compiler",)
    assert len(plan.kernels) == 5


def test_an_unknown_element_type_is_not_guessed(data: Path) -> None:
    text = (data / "attention_fp16.log").read_text(encoding="utf-8").replace("Datatype: Half", "Datatype: Quarter", 1)
    with pytest.raises(GrammarError, match="Quarter"):
        plan_from_log(text.splitlines(), strict=True)
    assert len(plan_from_log(text.splitlines()).unread) == 1


def test_a_log_without_layers_is_no_plan() -> None:
    with pytest.raises(GrammarError, match="found none"):
        plan_from_log(["[INFO] Total Activation Memory: 8 bytes", "[ERROR] out of luck"])


@pytest.mark.parametrize(
    ("words", "dtype"),
    [
        ("Half", "fp16"),
        ("Float", "fp32"),
        ("BFloat16", "bf16"),
        ("Int64", "int64"),
        ("Row major linear FP16 format", "fp16"),
        ("Row major Int8 format", "int8"),
        ("Channel major FP8 format where channel % 4 == 0", "fp8"),
    ],
)
def test_words_for_element_types(words: str, dtype: str) -> None:
    assert dtype_named(words) == dtype


@pytest.mark.parametrize(
    ("dims", "dtype", "size"), [((2, 3), "fp16", 12), ((), "fp32", 4), ((3,), "int4", 2), ((-1, 3), "fp16", None)]
)
def test_sizes(dims: tuple[int, ...], dtype: str, size: int | None) -> None:
    assert Tensor("t", dims, dtype).size_bytes == size


def test_the_inspector_of_tensorrt_gives_the_same_plan() -> None:
    layers: list[LayerRecord] = json.loads(
        r"""[{"Name": "a + b_myl0_1", "LayerType": "gemm",
        "Inputs": [{"Name": "x", "Location": "Device", "Dimensions": [1, 64, 64], "Format/Datatype": "Half"},
                   {"Name": "w", "Location": "Device", "Dimensions": [64, 64],
                    "Format/Datatype": "Row major linear FP16 format"}],
        "Outputs": [{"Name": "y", "Location": "Device", "Dimensions": [1, 64, 64], "Format/Datatype": "Half"}],
        "TacticName": "sm80_xmma_gemm_f16f16_f16f32_f32", "StreamId": 0,
        "Metadata": "[ONNX Layer: blocks.0/to_q]\u001f[ONNX Layer: blocks.0/to_k]"},
        {"Name": "wait", "LayerType": "wait", "Inputs": [], "Outputs": [], "Metadata": ""}]"""
    )
    plan = plan_from_layers(layers, strict=True)
    (kernel,) = plan.kernels
    assert kernel.nodes == ("blocks.0/to_q", "blocks.0/to_k")
    assert kernel.is_product
    assert kernel.moved_bytes == 3 * 64 * 64 * 2


def test_layers_without_details_are_not_a_plan() -> None:
    bare: list[LayerRecord] = ["Reformatting CopyNode"]  # type: ignore[list-item]
    with pytest.raises(GrammarError, match="a layer with a Name"):
        plan_from_layers(bare, strict=True)
    assert plan_from_layers(bare).unread == ("Reformatting CopyNode",)
