"""What TensorRT's inspector tells, in the words of 10 and of 11: the same plan, or less of it, and never a guess."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ftsf_export.engine.grammar import GrammarError
from ftsf_export.engine.inspector_json import plan_from_inspector
from ftsf_export.engine.kernel_plan import UNTOLD, Plan
from ftsf_export.engine.request import Product
from ftsf_export.engine.types import judge_types
from ftsf_export.network.gates import engine_types
from ftsf_export.verdict import Status, Subject, Verdict
from tests.unit.engine.inspector_records import inspector_json

NAME = "attention_fp16"
ENGINE = Subject("engines/tensorrt-a10-fp16.engine", "0" * 64)


@pytest.fixture
def judge(recorded_products: Callable[[str], tuple[Product, ...]]) -> Callable[[Plan], Verdict]:
    gate, products = engine_types("tensorrt", "a10"), recorded_products(NAME)
    return lambda plan: judge_types(plan, "fp16", gate=gate, subject=ENGINE, products=products)


@pytest.mark.parametrize("release", [10, 11])
def test_both_schemas_give_the_plan_of_the_record(
    recorded: Callable[[str], Plan], judge: Callable[[Plan], Verdict], release: int
) -> None:
    plan = plan_from_inspector(inspector_json(NAME, release))
    assert plan.kernels == recorded(NAME).kernels
    assert plan.unread == ()
    assert judge(plan).passed


def test_types_that_10_keeps_to_itself_are_inconclusive(judge: Callable[[Plan], Verdict]) -> None:
    plan = plan_from_inspector(inspector_json(NAME, 10, dynamic=True))
    assert plan.unread == ()
    assert {tensor.dtype for kernel in plan.kernels for tensor in kernel.inputs} == {UNTOLD}
    assert plan.moved_bytes is None
    verdict = judge(plan)
    assert verdict.status is Status.INCONCLUSIVE
    assert "5 products do not tell their operand types" in verdict.reason
    (untold,) = [m for m in verdict.measures if m.metric == "that do not tell their operand types"]
    assert (untold.value, untold.limit, untold.passed) == (5, 0, False)


def test_11_tells_types_also_where_shapes_are_dynamic(judge: Callable[[Plan], Verdict]) -> None:
    plan = plan_from_inspector(inspector_json(NAME, 11, dynamic=True))
    assert plan.moved_bytes is None
    assert judge(plan).passed


def test_one_product_without_a_type_is_enough(judge: Callable[[Plan], Verdict]) -> None:
    told = json.loads(inspector_json(NAME, 10))
    attention = next(layer for layer in told["Layers"] if "mha" in layer["Name"])
    attention["Inputs"][1]["Format/Datatype"] = "N/A due to dynamic shapes"
    verdict = judge(plan_from_inspector(json.dumps(told)))
    assert verdict.status is Status.INCONCLUSIVE
    assert "1 products do not tell" in verdict.reason


def test_a_fault_that_is_told_fails_beside_what_is_not(judge: Callable[[Plan], Verdict]) -> None:
    told = json.loads(inspector_json(NAME, 10))
    products = [layer for layer in told["Layers"] if layer["LayerType"] in ("gemm", "runtime_fusion")]
    products[0]["Inputs"][0]["Format/Datatype"] = "N/A due to dynamic shapes"
    for tensor in (*products[-1]["Inputs"], *products[-1]["Constants"]):
        tensor["Format/Datatype"] = "Row major linear FP32 format"
    verdict = judge(plan_from_inspector(json.dumps(told)))
    assert verdict.status is Status.FAILED
    assert "kernels with operands other than fp16: blocks.0/mlp/fc2" in verdict.reason


def test_weights_of_tensorrts_own_products_are_operands() -> None:
    """Its products with weights list the input alone, and the weights by type and count."""
    layer = {
        "Name": "/head/MatMul + /head/Add", "LayerType": "CaskGemmMatrixMultiply",
        "Inputs": [{"Name": "x", "Location": "Device", "Dimensions": [1, 64], "Format/Datatype": "Half"}],
        "Outputs": [{"Name": "y", "Location": "Device", "Dimensions": [1, 5], "Format/Datatype": "Half"}],
        "Weights": {"Type": "Half", "Count": 320}, "Bias": {"Type": "Float", "Count": 5},
        "TacticName": "sm80_xmma_gemm_f16f16_f16f32_f32_tn_n", "Metadata": "[ONNX Layer: /head/MatMul]",
    }  # fmt: skip
    plan = plan_from_inspector(json.dumps([layer]))
    (kernel,) = plan.kernels
    assert [(t.dtype, t.dims) for t in kernel.constants] == [("fp16", (320,)), ("fp32", (5,))]
    assert kernel.moved_bytes == 2 * 64 + 2 * 5 + 2 * 320 + 4 * 5
    product = Product("/head/MatMul", "MATRIX_MULTIPLY", ("fp16", "fp16"))
    assert judge_types(plan, "fp16", gate=engine_types("tensorrt", "a10"), subject=ENGINE, products=(product,)).passed


def test_views_and_later_profiles_are_no_kernels() -> None:
    told = json.loads(inspector_json(NAME, 10))
    kernels = len(plan_from_inspector(json.dumps(told)).kernels)
    again = [{**layer, "Name": f"{layer['Name']} [profile 1]"} for layer in told["Layers"]]
    view = {**told["Layers"][1], "Name": "(Unnamed Layer* 0) [Shuffle]", "LayerType": "NoOp"}
    told["Layers"] += [view, *again]
    assert len(plan_from_inspector(json.dumps(told)).kernels) == kernels


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON of an engine's layers"),
        ("[" * 100_000, "no JSON of an engine's layers"),
        ('{"Layers": []}', "expected a list of layers"),
        ('{"layers": {}}', "expected a list of layers"),
        ('{"Layers": ["a", "b"], "Bindings": []}', "names of its 2 layers alone; build it with detailed profiling"),
    ],
)
def test_what_is_no_plan(text: str, says: str) -> None:
    with pytest.raises(GrammarError, match=says):
        plan_from_inspector(text)


@pytest.mark.parametrize(
    "change",
    [{"Inputs": None}, {"Inputs": [3]}, {"Inputs": [{"Name": "x", "Dimensions": ["1"], "Datatype": "Half"}]},
     {"Outputs": [{"Name": "x", "Dimensions": 3, "Datatype": "Half"}]}, {"Weights": {"Type": "Half", "Count": "many"}},
     {"Inputs": [{"Name": "x", "Dimensions": [1]}]}],
)  # fmt: skip
def test_a_layer_of_another_form_is_unread(change: dict[str, object]) -> None:
    layer = {"Name": "a", "LayerType": "gemm", "Inputs": [], "Outputs": [], **change}
    plan = plan_from_inspector(json.dumps([layer]))
    assert plan.kernels == ()
    assert len(plan.unread) == 1
