"""``ftsf sweep``: one export a cell of a grid, each in a process of its own; what is finished is not done again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fast_timesformer.whole_file import write_whole
from ftsf_export import __version__
from ftsf_export.bench.sweep import Cell
from ftsf_export.bundle.manifest import manifest_converter
from ftsf_export.config import BatchRange, ExportConfig, Size
from ftsf_export.directory_lock import try_lock
from ftsf_export.disk import disk_refusals_translated
from ftsf_export.errors import EnvironmentLacks, FtsfError, OutputError, RunError
from ftsf_export.process.parent import run_in_child
from ftsf_export.progress import OnProgress, silent
from ftsf_export.report.sweep import SWEEP_PAGE, SWEEP_RECORD, render_sweep
from ftsf_export.strict_json import json_from_bytes, plain, structured
from ftsf_export.sweep_record import BROKEN, CellResult, SweepRecord
from ftsf_export.user_file import content_of

_CELLS, _BUNDLES = "cells", "bundles"
_OURS = (_CELLS, _BUNDLES, SWEEP_PAGE, SWEEP_RECORD)
_MOST_BYTES = 64 << 20
OnCell = Callable[[CellResult, bool], object]


def sweep(
    cells: Sequence[Cell],
    output: Path,
    *,
    keep_bundles: bool = False,
    timeout_s: float | None = None,
    on_cell: OnCell = lambda _result, _new: None,
    on_progress: OnProgress = silent,
) -> SweepRecord:
    """Runs the ``cells`` that ``output`` does not hold finished yet, and writes its table and its page anew after each.

    A cell that breaks, or takes longer than ``timeout_s``, is a result that says so, and is tried again by the next
    sweep; the others go on. ``on_cell``: takes each result, and whether it is new. Raises OutputError for a directory
    that is none of a sweep, that another sweep works in, or that cannot be written; EnvironmentLacks where a package
    that every cell needs is missing.
    """
    results: list[CellResult] = []
    with _opened(output):
        found = {cell.name: finished(output, cell) for cell in cells}
        for index, cell in enumerate(cells):
            kept = found[cell.name]
            result = kept
            if result is None:
                tell = partial(_tell, on_progress, f"{cell.name} ({index + 1} of {len(cells)})")
                result = _run(cell, output, keep_bundles, timeout_s, tell)
                _write(output / _CELLS / f"{cell.name}.json", plain(result, converter=manifest_converter()))
            results.append(result)
            on_cell(result, kept is None)
            record = SweepRecord(created_by=f"ftsf-export {__version__}", cells=tuple(results))
            _write_record(output, record)
    return record


def finished(output: Path, cell: Cell) -> CellResult | None:
    """The result of the cell in ``output``, where one is there that was not broken and is of the same request."""
    path = output / _CELLS / f"{cell.name}.json"
    if not path.is_file():
        return None
    try:
        data = content_of(path, expected="a cell's result", most=_MOST_BYTES)
        result = structured(json_from_bytes(data, str(path)), CellResult, str(path), converter=manifest_converter())
    except FtsfError:
        # Of another version, or damaged: it is made again.
        return None
    return result if result.fingerprint == cell.fingerprint and result.ended != BROKEN else None


def _tell(on_progress: OnProgress, label: str, stage: str) -> None:
    on_progress(f"{label}: {stage}", None)


def _run(
    cell: Cell, output: Path, keep_bundles: bool, timeout_s: float | None, tell: Callable[[str], object]
) -> CellResult:
    """The cell's result, from a child; Ctrl-C ends the child and all that it started."""
    bundle = output / _BUNDLES / cell.name if keep_bundles else None
    start = time.monotonic()
    request = {
        "config": _written(cell.config),
        "target": cell.target,
        "bench": None if cell.bench is None else plain(cell.bench),
        "bundle": None if bundle is None else str(bundle.resolve()),
    }
    try:
        answer = run_in_child(
            "ftsf_export.pipeline.sweep_cell:run",
            request,
            failed=lambda ending: RunError(
                f"{cell.name}: its process {ending.how}: {ending.said}", details=ending.details
            ),
            on_note=tell,
            timeout_s=timeout_s,
        )
        found = structured(
            {**answer.value, "name": cell.name, "fingerprint": cell.fingerprint, "seconds": 0.0},
            CellResult,
            cell.name,
            converter=manifest_converter(),
        )
    except EnvironmentLacks:
        # What one cell lacks the others lack too.
        raise
    except FtsfError as error:
        found = CellResult(
            name=cell.name,
            fingerprint=cell.fingerprint,
            ended=BROKEN,
            said=error.message,
            asked=cell.config.written(),
            seconds=0.0,
        )
    return replace(found, seconds=round(time.monotonic() - start, 3))


def _written(config: ExportConfig) -> dict[str, Any]:
    """The fields that were written, for ``ExportConfig`` in another process: JSON, with whole paths."""
    values = {name: getattr(config, name) for name in config.given}
    return {
        name: str(value)
        if isinstance(value, (Path, Size, BatchRange))
        else [str(one) for one in value]
        if isinstance(value, tuple)
        else value
        for name, value in values.items()
    }


@contextmanager
def _opened(output: Path) -> Iterator[None]:
    """The directory of a sweep, made where it is missing, and locked."""
    with disk_refusals_translated("make the directory of a sweep", output):
        output.mkdir(parents=True, exist_ok=True)
        if strange := [one.name for one in output.iterdir() if one.name not in _OURS]:
            raise OutputError(
                f"{output}: expected a new directory or one of a sweep, found {strange[0]}; choose another with -o"
            )
        lock = try_lock(output)
    if lock is None:
        raise OutputError(f"{output}: another sweep works in it; wait for it, or choose another place with -o")
    try:
        with disk_refusals_translated("make a directory", output / _CELLS):
            (output / _CELLS).mkdir(exist_ok=True)
        yield
    finally:
        lock.release()


def _write(path: Path, value: object) -> None:
    with disk_refusals_translated("write the sweep", path):
        write_whole(path, json.dumps(value, indent=1, allow_nan=False).encode() + b"\n")


def _write_record(output: Path, record: SweepRecord) -> None:
    with disk_refusals_translated("write the sweep", output):
        for name, content in render_sweep(record).items():
            write_whole(output / name, content)
