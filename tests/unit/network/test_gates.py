"""Gates: the names that users see, what they stand in for, and of which file they may speak."""

from __future__ import annotations

import pytest

from ftsf_export.errors import ConfigError
from ftsf_export.network import gates
from ftsf_export.precision import PRECISIONS
from ftsf_export.verdict import Measure, Status, Subject


@pytest.mark.parametrize(
    ("precision", "parity", "agreement", "stands_in_for"),
    [
        ("fp32", "parity.onnx-fp32", "agreement.onnx-fp32", ""),
        ("fp16", "parity.fp16-emulated", "agreement.fp16-emulated", "fp16 on a GPU"),
        ("int8", "parity.onnx-int8", "agreement.onnx-int8", ""),
        ("bf16", "parity.bf16-emulated", "agreement.bf16-emulated", "bf16 on a GPU"),
    ],
)
def test_a_graph_on_a_cpu(precision: str, parity: str, agreement: str, stands_in_for: str) -> None:
    assert gates.parity_graph(PRECISIONS[precision]) == gates.Gate(parity, gates.GRAPH, stands_in_for)
    assert gates.agreement_graph(PRECISIONS[precision]) == gates.Gate(agreement, gates.GRAPH, stands_in_for)


def test_what_no_stage_makes_has_no_gate() -> None:
    with pytest.raises(ConfigError, match="makes fp32, fp16, bf16, int8, not fp8"):
        gates.parity_graph(PRECISIONS["fp8"])


def test_the_names_of_the_others() -> None:
    about = ("rtx", "rtx-40")
    assert gates.parity_engine(*about).name == "parity.engine-rtx-rtx-40"
    assert gates.engine_types(*about).name == "engine.types-rtx-rtx-40"
    assert gates.plan_types(*about).name == "plan.types-rtx-rtx-40"
    assert gates.plan_work(*about, "l4").name == "plan.work-rtx-rtx-40"
    assert gates.plan_attentions(*about).name == "plan.attentions-rtx-rtx-40"
    assert gates.PARITY_HUGGINGFACE.name == "parity.huggingface"
    assert (gates.WEIGHTS.name, gates.LABELS.name) == ("weights", "labels")


def test_a_gate_says_what_its_verdict_stands_in_for() -> None:
    measure = Measure(output="products' work", metric="share", value=0, limit=0)
    graph = Subject("model.onnx", "0" * 64)
    verdict = gates.plan_work("rtx", "l4", "l4, by another card").verdict(graph, Status.PASSED, measures=[measure])
    assert (verdict.gate, verdict.proxy_for) == ("plan.work-rtx-l4", "l4, by another card")


def test_a_gate_of_an_engine_says_nothing_about_a_graph() -> None:
    with pytest.raises(ValueError, match=r"judges a file '\.engine', got 'model\.onnx'"):
        gates.parity_engine("rtx", "rtx").not_run(Subject("model.onnx", "0" * 64), "no GPU")
