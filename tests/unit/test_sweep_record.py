"""Which mechanism is the fastest where, and what accuracy costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.sweep_record import BROKEN, FAILED, PASSED, CellResult, SweepRecord, ended_worst
from ftsf_export.verdict import Bound, Measure, Status, Subject, Verdict
from tests.unit.report.test_report import CPU, PLAN

SUBJECT = Subject("model.onnx", "ab" * 32)


def cell(attn: str, side: int, measured_ms: float, bound_ms: float | None = None, **changes: Any) -> CellResult:
    latency = replace(CPU.latency, p50_ms=measured_ms)
    model = TimeSformerConfig(8, 3, side, side, 400, dim=64, depth=2, attn_mechanism=attn)
    return replace(
        CellResult(
            name=f"{attn}-{side}", fingerprint="cd" * 32, ended=PASSED, asked={"attn": attn}, model=model,
            precision="fp32", batch=1, weights="random, seed 0", timings=(replace(CPU, latency=latency),),
            plan=None if bound_ms is None else replace(PLAN, least_ms=bound_ms), seconds=1.0,
        ),
        **changes,
    )  # fmt: skip


def agreed(right: float) -> tuple[Verdict, ...]:
    measures = (
        Measure(output="logits", metric="top1_agreement", value=1.0, limit=0.99, bound=Bound.AT_LEAST),
        Measure(output="logits", metric="graph_top1_accuracy", value=right),
    )
    return (Verdict(gate="agreement.onnx-fp32", status=Status.PASSED, subject=SUBJECT, measures=measures),)


def test_the_fastest_is_named_for_each_run_of_sizes() -> None:
    cells = [cell("regular", side, ms) for side, ms in ((32, 1.0), (64, 3.0), (128, 40.0))]
    cells += [cell("fastformer", side, ms) for side, ms in ((32, 2.0), (64, 2.5), (128, 9.0))]
    (panel,) = SweepRecord(created_by="t", cells=tuple(cells)).panels
    assert panel.quantity == "measured, CPU (ONNX Runtime)"
    assert panel.lines["regular"] == ((33, 1.0), (129, 3.0), (513, 40.0))
    assert panel.fastest == ((33, 33, "regular"), (129, 513, "fastformer"))
    assert panel.said == "The fastest: regular at 33 tokens, fastformer from 129 to 513 tokens."


def test_only_sizes_that_all_have_are_compared() -> None:
    cells = (cell("regular", 32, 1.0), cell("regular", 64, 3.0), cell("fastformer", 64, 2.0))
    (panel,) = SweepRecord(created_by="t", cells=cells).panels
    assert panel.fastest == ((129, 129, "fastformer"),)
    alone = SweepRecord(created_by="t", cells=cells[:2]).panels
    assert [one.said for one in alone] == [""]


def test_what_differs_in_more_than_the_size_is_another_chart() -> None:
    first = cell("regular", 32, 1.0, bound_ms=0.1)
    second = cell("regular", 64, 3.0, bound_ms=0.2)
    other = replace(second, precision="fp16")
    record = SweepRecord(created_by="t", cells=(first, second, other))
    assert sorted(panel.quantity for panel in record.panels) == [
        "measured, CPU (ONNX Runtime)",
        "modelled bound, a card",
    ]
    assert SweepRecord(created_by="t", cells=(first, other)).panels == ()


def test_a_cell_that_another_beats_in_both_is_not_on_the_front() -> None:
    cells = (
        cell("regular", 32, 3.0, verdicts=agreed(0.95)),
        cell("fastformer", 32, 1.0, verdicts=agreed(0.90)),
        cell("performer", 32, 2.0, verdicts=agreed(0.90)),
        cell("performer", 64, 9.0),
    )
    found = SweepRecord(created_by="t", cells=cells).pareto("measured, CPU (ONNX Runtime)")
    assert found == (
        (1.0, 0.90, "fastformer-32", True), (2.0, 0.90, "performer-32", False), (3.0, 0.95, "regular-32", True),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("endings", "worst"), [((PASSED,), PASSED), ((PASSED, FAILED), FAILED), ((FAILED, BROKEN), BROKEN)]
)
def test_one_that_broke_is_the_worst(endings: tuple[str, ...], worst: str) -> None:
    assert ended_worst([cell("regular", 32, 1.0, ended=one) for one in endings]) == worst
