"""``ftsf sweep``: a grid of exports, and which is the fastest where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsf_export import __version__
from ftsf_export.bench.request import BenchRequest
from ftsf_export.bench.sweep import AXES
from ftsf_export.cli.options import ftsf_command, sweep_options, typed
from ftsf_export.cli.terminal import Terminal
from ftsf_export.cli.torch_cache import torch_cache_thrown_away
from ftsf_export.strict_json import plain

if TYPE_CHECKING:
    from ftsf_export.bench.sweep import Cell
    from ftsf_export.sweep_record import CellResult, SweepRecord

_BENCH = ("seconds", "iterations", "threads")


@ftsf_command("sweep")
@sweep_options
@torch_cache_thrown_away()
def command(
    terminal: Terminal,
    /,
    output: Path,
    target: str,
    runner: str | None,
    timeout: float | None,
    keep_bundles: bool,
    dry_run: bool,
    **fields: Any,
) -> None:
    """Export every combination of the values given, each in a process of its own, and compare them.

    Options marked with * may be given several times. Each cell is exported, judged, compiled for its plan, and
    measured where a GPU is or with --runner. Results lie in DIR/cells, with a table in sweep.json and charts in
    sweep.html; the same command again goes on where it was stopped. Exits 1 where a gate of a cell failed, 4 where a
    cell broke.
    """
    from ftsf_export.bench.sweep import cells_of
    from ftsf_export.engine.targets import target_named
    from ftsf_export.pipeline.sweep import finished, sweep
    from ftsf_export.runners.driver import first_gpu

    given = typed(fields)
    if target:
        target_named(target)
    measure = {name: given.pop(name) for name in _BENCH if name in given}
    bench = BenchRequest(runner=runner or "auto", **measure) if runner or measure else None
    axes = {name: given.pop(name, ()) for name in AXES}
    given.setdefault("builder", "none" if first_gpu() is None else "auto")
    if target and given["builder"] != "none":
        given["targets"] = (target,)
    cells = cells_of(axes, given, target=target, bench=bench, made_by=__version__)
    if dry_run:
        _say_grid(terminal, cells, output, {cell.name for cell in cells if finished(output, cell)})
        return
    with terminal.progress() as on_progress:
        record = sweep(
            cells,
            output,
            keep_bundles=keep_bundles,
            timeout_s=timeout,
            on_cell=lambda result, new: _note_cell(terminal, result, new),
            on_progress=on_progress,
        )
    _say_sweep(terminal, record, output)
    _raise_for_worst(record)


def _say_grid(terminal: Terminal, cells: tuple[Cell, ...], output: Path, done: set[str]) -> None:
    terminal.record(
        dry_run=True, output=output, cells=[{"name": one.name, "finished": one.name in done} for one in cells]
    )
    terminal.say(
        f"nothing was run; without --dry-run {len(cells) - len(done)} of {len(cells)} cells would be, in {output}:"
    )
    for cell in cells:
        terminal.say(f"  {cell.name}{'  (finished)' if cell.name in done else ''}")


def _note_cell(terminal: Terminal, result: CellResult, new: bool) -> None:
    how = f"{result.ended} in {result.seconds:.0f} s" if new else f"{result.ended} before"
    terminal.note(f"{result.name}: {how}{f': {result.said}' if result.said else ''}")


def _say_sweep(terminal: Terminal, record: SweepRecord, output: Path) -> None:
    terminal.record(output=output, cells=[_facts(cell) for cell in record.cells], panels=plain(record.panels))
    heads = (
        "cell",
        "ended",
        "tokens",
        "kernels",
        "MB",
        *record.quantities,
        *(["right"] if _accuracies(record) else []),
    )
    rows = [heads, *(_row(cell, record) for cell in record.cells)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        cells = [
            f"{text:<{width}}" if i < 2 else f"{text:>{width}}"
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        terminal.say("  ".join(cells).rstrip(), style="bold" if row is heads else "")
    for panel in record.panels:
        if panel.said:
            terminal.say(f"{panel.quantity}; {panel.title}: {panel.said}")
    for problem in dict.fromkeys(cell.plan_problem for cell in record.cells if cell.plan_problem):
        terminal.say(f"no plan    {problem}", style="yellow")
    for problem in dict.fromkeys(cell.timing_problem for cell in record.cells if cell.timing_problem):
        terminal.say(f"no times   {problem}", style="yellow")
    terminal.say(f"page       {output / 'sweep.html'}")


def _row(cell: CellResult, record: SweepRecord) -> tuple[str, ...]:
    plan, costs = cell.plan, cell.costs
    return (
        cell.name,
        cell.ended,
        "" if cell.model is None else f"{cell.model.num_tokens:,}",
        "" if plan is None else f"{plan.kernels}",
        "" if plan is None else f"{plan.moved_bytes / 1e6:,.1f}",
        *(f"{costs[quantity]:,.3f}" if quantity in costs else "" for quantity in record.quantities),
        *([("" if cell.accuracy is None else f"{cell.accuracy:.2%}")] if _accuracies(record) else []),
    )


def _accuracies(record: SweepRecord) -> bool:
    return any(cell.accuracy is not None for cell in record.cells)


def _facts(cell: CellResult) -> dict[str, Any]:
    """A cell in the JSON of the command; ``sweep.json`` has all of it."""
    return {
        "name": cell.name, "ended": cell.ended, "said": cell.said, "seconds": cell.seconds, "costs_ms": cell.costs,
        "tokens": None if cell.model is None else cell.model.num_tokens, "accuracy": cell.accuracy,
        "moved_bytes": None if cell.plan is None else cell.plan.moved_bytes,
        "kernels": None if cell.plan is None else cell.plan.kernels,
    }  # fmt: skip


def _raise_for_worst(record: SweepRecord) -> None:
    from ftsf_export.errors import GateFailed, RunError
    from ftsf_export.sweep_record import BROKEN, FAILED, ended_worst

    worst = ended_worst(record.cells)
    found = [cell for cell in record.cells if cell.ended == worst]
    said = f"{len(found)} of {len(record.cells)} cells {worst}; {found[0].name}: {found[0].said}"
    if worst == BROKEN:
        raise RunError(said)
    if worst == FAILED:
        raise GateFailed(said)
