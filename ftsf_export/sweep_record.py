"""What a sweep found: one result a cell of its grid, which mechanism is the fastest where, and what accuracy costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.rules import choice
from ftsf_export.plan_record import PlanRecord
from ftsf_export.strict_json import Count, Figure, Sha256
from ftsf_export.timing import Timing
from ftsf_export.verdict import Verdict

PASSED, FAILED, BROKEN = "passed", "failed", "broken"
# The gate of held-out videos, and its measure of right answers.
_AGREEMENT, _ACCURACY = "agreement.", "graph_top1_accuracy"


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What became of one cell: an export, its gates, its plan, and its times."""

    name: str  #: Of the cell.
    fingerprint: Sha256  #: Of all that was asked of it: with another one it is another cell.
    ended: Annotated[str, choice(PASSED, FAILED, BROKEN)]  #: Every gate passed, one did not, or a stage broke.
    said: str = ""  #: Why it did not pass.
    asked: Mapping[str, Any]  #: The fields of the export's configuration that were written.
    model: TimeSformerConfig | None = None  #: The architecture; None where it broke before that was known.
    precision: str = ""  #: Of the graph.
    batch: Count = 0  #: Clips in the usual call.
    weights: str = ""  #: Where they come from.
    parameters: Count = 0  #: Of the graph.
    verdicts: tuple[Verdict, ...] = ()  #: Of the export.
    plan: PlanRecord | None = None  #: What the compiler made of the graph.
    plan_problem: str = ""  #: Why there is no plan.
    timings: tuple[Timing, ...] = ()  #: What was measured.
    timing_problem: str = ""  #: Why nothing was measured.
    seconds: Figure  #: Of wall time.

    @property
    def costs(self) -> dict[str, float]:
        """Milliseconds of one call by what they are: medians that were measured, and the bound of the plan."""
        found = {f"measured, {timing.heading}": timing.latency.p50_ms for timing in self.timings}
        if self.plan is not None and self.plan.least_ms is not None:
            found[f"modelled bound, {self.plan.reference_card}"] = self.plan.least_ms
        return found

    @property
    def accuracy(self) -> float | None:
        """Share of the held-out videos whose best class is right; None where nothing says so."""
        for verdict in reversed(self.verdicts):
            if verdict.gate.startswith(_AGREEMENT):
                for measure in verdict.measures:
                    if measure.metric == _ACCURACY:
                        return measure.value
        return None


@dataclass(frozen=True)
class Panel:
    """Cells that differ in mechanism and number of tokens alone: the lines of one chart."""

    title: str  #: What they share, in words.
    quantity: str  #: What is compared, a key of ``CellResult.costs``.
    lines: Mapping[str, tuple[tuple[int, float], ...]]  #: Mechanism -> (tokens, milliseconds), the fewest tokens first.

    @property
    def fastest(self) -> tuple[tuple[int, int, str], ...]:
        """Runs of token counts with one mechanism in front: (first, last, its name). Only where all were measured."""
        costs = [dict(points) for points in self.lines.values()]
        runs: list[tuple[int, int, str]] = []
        for tokens in sorted(set.intersection(*(set(one) for one in costs))):
            best = min(self.lines, key=lambda name: dict(self.lines[name])[tokens])
            if runs and runs[-1][2] == best:
                runs[-1] = (runs[-1][0], tokens, best)
            else:
                runs.append((tokens, tokens, best))
        return tuple(runs)

    @property
    def said(self) -> str:
        """Who is the fastest where, in words."""
        if len(self.lines) < 2:
            return ""
        runs = [
            f"{name} at {first:,} tokens" if first == last else f"{name} from {first:,} to {last:,} tokens"
            for first, last, name in self.fastest
        ]
        return f"The fastest: {', '.join(runs)}." if runs else ""


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """All cells of a grid, in its order."""

    created_by: str  #: The program and its version.
    cells: tuple[CellResult, ...]  #: One each.

    @property
    def panels(self) -> tuple[Panel, ...]:
        """One for each quantity and each group of cells that have two numbers of tokens or more."""
        groups: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
        for cell in self.cells:
            if cell.model is None:
                continue
            for quantity, milliseconds in cell.costs.items():
                lines = groups.setdefault((quantity, _shared(cell, cell.model)), {})
                lines.setdefault(cell.model.attn_mechanism, {})[cell.model.num_tokens] = milliseconds
        return tuple(
            Panel(title, quantity, {name: tuple(sorted(points.items())) for name, points in lines.items()})
            for (quantity, title), lines in groups.items()
            if len({tokens for points in lines.values() for tokens in points}) > 1
        )

    @property
    def quantities(self) -> tuple[str, ...]:
        """Every kind of cost that a cell has."""
        return tuple(dict.fromkeys(quantity for cell in self.cells for quantity in cell.costs))

    def pareto(self, quantity: str) -> tuple[tuple[float, float, str, bool], ...]:
        """(cost, accuracy, cell, whether no other is both at least as accurate and as cheap), the cheapest first."""
        points = sorted(
            (cell.costs[quantity], -cell.accuracy, cell.name)
            for cell in self.cells
            if cell.accuracy is not None and quantity in cell.costs
        )
        best, found = float("-inf"), []
        for cost, negative, name in points:
            found.append((cost, -negative, name, -negative > best))
            best = max(best, -negative)
        return tuple(found)


def _shared(cell: CellResult, model: TimeSformerConfig) -> str:
    where = f"{model.attn_type}, dim {model.dim}, depth {model.depth}, patch {model.patch_size}"
    return f"{where}, {model.frames} frames, batch {cell.batch}, {cell.precision}"


def ended_worst(cells: Sequence[CellResult]) -> str:
    """The worst ending of the ``cells``: one that broke is worse than one with a failed gate."""
    return next((how for how in (BROKEN, FAILED) if any(cell.ended == how for cell in cells)), PASSED)
