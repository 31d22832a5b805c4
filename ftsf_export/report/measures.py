"""The measures of a verdict as a table: one row an output, the worst first, one column a metric."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# For these, more is better: the share of the limit says nothing about how close the limit is.
_MORE_IS_BETTER = re.compile(r"agreement$|cosine$|^share in ")


@dataclass(frozen=True)
class Column:
    """``limit`` is the one that all judged cells share; None when nothing is judged, or when they differ."""

    metric: str
    limit: float | None
    shared: bool


@dataclass(frozen=True)
class Row:
    """``cells`` in the order of the columns, None where the metric was not taken; ``share`` of the limit, 0 to inf."""

    output: str
    cells: tuple[Mapping[str, Any] | None, ...]
    passed: bool
    share: float
    worst_index: tuple[int, ...] | None


@dataclass(frozen=True)
class MeasureTable:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def table_from_measures(measures: list[Mapping[str, Any]]) -> MeasureTable:
    """``measures`` as in ``Verdict.as_dict()``."""
    metrics = list(dict.fromkeys(measure["metric"] for measure in measures))
    by_output: dict[str, dict[str, Mapping[str, Any]]] = {}
    for measure in measures:
        by_output.setdefault(measure["output"], {})[measure["metric"]] = measure
    rows = [_row(output, found, metrics) for output, found in by_output.items()]
    rows.sort(key=lambda row: (row.passed, -row.share))
    return MeasureTable(tuple(_column(metric, measures) for metric in metrics), tuple(rows))


def share_of_limit(measure: Mapping[str, Any]) -> float:
    """Value over limit; infinite for a value that is not finite or breaks a limit of zero; 0 where it has no sense."""
    value, limit = float(measure["value"]), measure["limit"]
    if limit is None or _MORE_IS_BETTER.search(measure["metric"]):
        return 0.0 if measure["passed"] else math.inf
    if not math.isfinite(value):
        return math.inf
    if limit > 0:
        return value / float(limit)
    return 0.0 if measure["passed"] else math.inf


def _row(output: str, found: Mapping[str, Mapping[str, Any]], metrics: list[str]) -> Row:
    worst = max(found.values(), key=lambda measure: (not measure["passed"], share_of_limit(measure)))
    index = worst["worst_index"]
    return Row(
        output=output,
        cells=tuple(found.get(metric) for metric in metrics),
        passed=all(measure["passed"] for measure in found.values()),
        share=share_of_limit(worst),
        worst_index=None if index is None else tuple(index),
    )


def _column(metric: str, measures: list[Mapping[str, Any]]) -> Column:
    limits = {measure["limit"] for measure in measures if measure["metric"] == metric} - {None}
    return Column(metric, limits.pop() if len(limits) == 1 else None, shared=not limits)
