"""A sweep as ``sweep.json`` and as one page: a table of the cells, lines over tokens, accuracy against cost."""

from __future__ import annotations

from typing import Any

from ftsf_export.bundle.manifest import manifest_converter
from ftsf_export.report import charts
from ftsf_export.report.charts import Point, Series
from ftsf_export.report.render import environment
from ftsf_export.strict_json import bytes_from_json, plain
from ftsf_export.sweep_record import CellResult, Panel, SweepRecord

SWEEP_RECORD, SWEEP_PAGE = "sweep.json", "sweep.html"
SWEEP_SCHEMA = 1


def render_sweep(record: SweepRecord) -> dict[str, bytes]:
    """Name -> content. The page needs nothing else: styles and charts inside, no script, no address.

    Raises EnvironmentLacks without Jinja2.
    """
    shown = {
        "created_by": record.created_by,
        "cells": [_row(cell) for cell in record.cells],
        "quantities": record.quantities,
        "panels": [(panel, _lines(panel)) for panel in record.panels],
        "paretos": [(quantity, _pareto(record, quantity)) for quantity in record.quantities if record.pareto(quantity)],
        "random_weights": any(cell.weights.startswith("random") for cell in record.cells),
        "colour_rules": charts.colour_rules(),
    }
    data = {"sweep_schema": SWEEP_SCHEMA, **plain(record, converter=manifest_converter())}
    page = environment(escaped=True).get_template("sweep.html.j2").render(shown)
    return {SWEEP_RECORD: bytes_from_json(data), SWEEP_PAGE: page.encode()}


def _row(cell: CellResult) -> dict[str, Any]:
    counts = {status: sum(one.status.value == status for one in cell.verdicts) for status in ("passed", "failed")}
    return {
        **vars(cell),
        "tokens": None if cell.model is None else cell.model.num_tokens,
        "gates": f"{counts['passed']} of {len(cell.verdicts)} passed" if cell.verdicts else "",
        "costs": cell.costs,
        "accuracy": cell.accuracy,
    }


def _lines(panel: Panel) -> str:
    series = [Series(name, tuple((float(x), y) for x, y in points)) for name, points in panel.lines.items()]
    return charts.line_chart(
        series,
        title=f"{panel.quantity}: {panel.title}",
        x_name="tokens of a clip",
        y_name="ms a call",
        said=panel.said or "One mechanism alone.",
    )


def _pareto(record: SweepRecord, quantity: str) -> str:
    mechanisms = {cell.name: cell.model.attn_mechanism for cell in record.cells if cell.model is not None}
    points = [
        Point(mechanisms[name], name, cost, 100 * accuracy, best)
        for cost, accuracy, name, best in record.pareto(quantity)
    ]
    best = [point.label for point in points if point.marked]
    return charts.scatter_chart(
        points,
        title=f"Accuracy on the held-out videos against {quantity}",
        x_name="ms a call",
        y_name="% right",
        said=f"Nothing is both cheaper and as accurate as these: {', '.join(best)}.",
    )
