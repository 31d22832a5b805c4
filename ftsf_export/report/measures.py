"""The measures of a verdict as a table: one row an output, the outputs first and then the worst, one
column a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ftsf_export.network.scope import OUTPUTS
from ftsf_export.verdict import Bound, Measure


@dataclass(frozen=True)
class Column:
    """One metric."""

    metric: str  #: Its name.
    unit: str  #: Of its values and limits.
    limit: float | None  #: The one that all judged cells share; None when nothing is judged, or when they differ.


@dataclass(frozen=True)
class Row:
    """One output."""

    output: str  #: Its name.
    cells: tuple[Measure | None, ...]  #: Its measures in the order of the columns, None where the metric was not taken.
    worst: Measure  #: The measure that failed, or takes most of its limit.
    share: float  #: Of its limit that it takes, from 0 to infinity.


@dataclass(frozen=True)
class MeasureTable:
    """The measures of one verdict."""

    columns: tuple[Column, ...]  #: The metrics, in the order in which they were taken.
    rows: tuple[Row, ...]  #: The outputs: the graph's outputs first, then the worst.


def table_from_measures(measures: Sequence[Measure]) -> MeasureTable:
    metrics = {measure.metric: measure.unit for measure in measures}
    by_output: dict[str, dict[str, Measure]] = {}
    for measure in measures:
        by_output.setdefault(measure.output, {})[measure.metric] = measure
    rows = [_row(output, found, metrics) for output, found in by_output.items()]
    # The graph's outputs first, which are the answer; then the modules, the worst first.
    rows.sort(key=lambda row: (row.output not in OUTPUTS, row.worst.passed, -row.share))
    return MeasureTable(tuple(_column(metric, unit, measures) for metric, unit in metrics.items()), tuple(rows))


def share_of_limit(measure: Measure) -> float:
    """Value over limit; infinite for a value that is not finite or breaks a limit of zero. Where more is better, or
    where there is no limit, the share has no sense: 0 for what passed, infinite for what did not."""
    if measure.limit is None or measure.inconclusive or measure.bound is Bound.AT_LEAST or measure.limit <= 0:
        return 0.0 if measure.passed else math.inf
    return measure.value / measure.limit if math.isfinite(measure.value) else math.inf


def _row(output: str, found: dict[str, Measure], metrics: dict[str, str]) -> Row:
    worst = max(found.values(), key=lambda measure: (not measure.passed, share_of_limit(measure)))
    return Row(output, tuple(found.get(metric) for metric in metrics), worst, share_of_limit(worst))


def _column(metric: str, unit: str, measures: Sequence[Measure]) -> Column:
    limits = {measure.limit for measure in measures if measure.metric == metric} - {None}
    return Column(metric, unit, limits.pop() if len(limits) == 1 else None)
