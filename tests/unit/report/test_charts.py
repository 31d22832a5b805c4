"""Charts: bars as long as their values, words for who cannot see them, no foreign text taken as markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from ftsf_export.report.charts import Series, colours, line_chart, stacked_bars, standalone

ROWS = {"blocks.0": {"product": 60.0, "copy": 20.0}, "head": {"product": 10.0, "copy": 0.0}}


def bars() -> ET.Element:
    return ET.fromstring(stacked_bars(ROWS, title="Bytes", unit="MB", scale=1.0))


def test_bars_are_as_long_as_their_values() -> None:
    found = [(rect.get("fill"), float(rect.get("width") or 0)) for rect in bars().iter("rect")]
    assert [colour for colour, _ in found] == ["var(--kind-product)", "var(--kind-copy)", "var(--kind-product)"]
    wide, third, sixth = (width + 0.8 for _, width in found)
    assert wide == pytest.approx(3 * third, abs=0.2)
    assert wide == pytest.approx(6 * sixth, abs=0.4)


def test_a_chart_says_what_it_shows() -> None:
    page = bars()
    assert page.get("role") == "img"
    assert page.get("aria-label") == "Bytes. 2 rows, 90.0 MB in all; the largest holds 80.0 MB."
    assert [text.text for text in page.iter("text")] == ["blocks.0", "80.0 MB", "head", "10.0 MB"]


def test_hostile_names_stay_text() -> None:
    page = stacked_bars({"<script>&": {"product": 1.0}}, title='"><b>', unit="MB", scale=1.0)
    assert "<script>" not in page
    assert "<b>" not in page
    ET.fromstring(page)


def test_no_rows_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        stacked_bars({}, title="t", unit="MB", scale=1.0)


def test_lines_start_at_zero_and_their_names_do_not_cover_each_other() -> None:
    series = [Series("regular", ((10, 50), (20, 100))), Series("fastformer", ((10, 50), (20, 100.5)))]
    page = ET.fromstring(line_chart(series, title="t", x_name="tokens", y_name="MB", said="equal"))
    lines = [line.get("points") for line in page.iter("polyline")]
    assert lines[0].split()[0] == lines[1].split()[0]  # type: ignore[union-attr]
    names = [float(text.get("y") or 0) for text in page.iter("text") if text.text in colours()]
    assert abs(names[0] - names[1]) >= 16
    assert "0" in [text.text for text in page.iter("text")]


def test_a_file_of_its_own_brings_its_colours() -> None:
    page = standalone(stacked_bars(ROWS, title="Bytes", unit="MB", scale=1.0))
    assert ET.fromstring(page).tag == "{http://www.w3.org/2000/svg}svg"
    assert "--kind-product:#" in page
    assert "prefers-color-scheme:dark" in page


def test_large_figures_are_written_out() -> None:
    drawn = line_chart((Series("a", ((0, 1.5), (1, 9809.5))),), title="t", x_name="x", y_name="y", said="s")
    assert "10,000" in drawn
    assert "9,810" in drawn
    assert "e+" not in drawn
