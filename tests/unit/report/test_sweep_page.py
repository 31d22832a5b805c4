"""The page of a sweep."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ftsf_export.bundle.manifest import manifest_converter
from ftsf_export.report.charts import Point, scatter_chart
from ftsf_export.report.sweep import render_sweep
from ftsf_export.strict_json import structured
from ftsf_export.sweep_record import BROKEN, FAILED, SweepRecord
from tests.unit.report.test_in_a_browser import CHROMIUM, WIDTHS, laid_out
from tests.unit.report.test_report import HOSTILE, Page
from tests.unit.test_sweep_record import agreed, cell

CELLS = (
    *(cell(attn, side, ms, ms / 100, verdicts=agreed(0.8 + ms / 100)) for attn, side, ms in (
        ("regular", 32, 1.0), ("regular", 224, 9.0), ("fastformer", 32, 2.0), ("fastformer", 224, 5.0),
    )),
    cell("performer", 32, 3.0, name="broken", ended=BROKEN, said=HOSTILE, timings=()),
    cell("performer", 64, 3.0, name="failed", ended=FAILED, said="parity.onnx-fp32 failed", plan_problem="no compiler"),
)  # fmt: skip
RECORD = SweepRecord(created_by="ftsf-export 1", cells=CELLS)


def test_the_page_says_what_the_record_says_and_needs_nothing_else() -> None:
    files = render_sweep(RECORD)
    page = files["sweep.html"].decode()
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script|<link|<img|src=", page)
    read = Page(page)
    assert all("scope" in attrs for tag, attrs in read.elements if tag == "th")
    assert page.count("<svg") == len(RECORD.panels) + len(RECORD.quantities)
    for said in (
        "1 broken",
        "1 failed",
        "4 passed",
        HOSTILE,
        "plan: no compiler",
        "a card",
        "fastformer at 1,569 tokens",
    ):
        assert said in read.text, said


def test_the_json_gives_the_record_again() -> None:
    data = json.loads(render_sweep(RECORD)["sweep.json"])
    assert data.pop("sweep_schema") == 1
    assert structured(data, SweepRecord, "sweep.json", converter=manifest_converter()) == RECORD


def test_the_line_of_a_scatter_runs_through_the_marked_points_alone() -> None:
    points = [
        Point("regular", "a", 1, 90, True),
        Point("performer", "b", 2, 80, False),
        Point("regular", "c", 3, 95, True),
    ]
    chart = scatter_chart(points, title="t", x_name="x", y_name="y", said="s")
    found = re.search(r'<polyline points="([^"]+)"', chart)
    assert found is not None
    assert len(found[1].split()) == 2
    assert chart.count("<circle") == 3
    assert chart.count('fill="none" stroke="var(--kind-performer)"') == 1


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on this machine")
def test_nothing_is_cut_off_at_any_width(tmp_path: Path) -> None:
    found, said = laid_out(render_sweep(RECORD)["sweep.html"].decode(), tmp_path)
    assert [one["width"] for one in found] == list(WIDTHS)
    for one in found:
        assert (one["cut"], one["fetched"]) == ([], 0), one
        assert one["page"] <= one["width"], one
    assert said == ""
