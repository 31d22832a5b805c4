"""Several benchmarks as one Markdown table: ``python -m ftsf_export.bench.table FILE...``.

Each file is what ``ftsf bench --json`` printed; its name without the ending names the rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ftsf_export.strict_json import structured
from ftsf_export.timing import Timing
from ftsf_export.user_file import content_of

_MOST_BYTES = 16 << 20
_COLUMNS = (
    "bundle",
    "measured on",
    "precision",
    "batch",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "GPU p50 ms",
    "clips/s",
    "calls",
)


def table_from_timings(timings: Sequence[tuple[str, Timing]]) -> str:
    """One row a timing, with the name of its bundle; the weights and every note stand below.

    Raises ValueError when there is no timing.
    """
    if not timings:
        raise ValueError("table: expected at least one timing, got none")
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *(_row(name, timing) for name, timing in timings)]
    weights = dict.fromkeys(f"Weights of {name}: {timing.subject.weights}." for name, timing in timings)
    notes = dict.fromkeys(f"{name}: {note}." for name, timing in timings for note in timing.subject.notes)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *(f"- {line}" for line in (*weights, *notes))])


def _row(name: str, timing: Timing) -> tuple[str, ...]:
    latency, subject = timing.latency, timing.subject
    return (
        name,
        timing.heading,
        subject.precision,
        str(subject.batch),
        *(f"{value:.2f}" for value in (latency.p50_ms, latency.p95_ms, latency.p99_ms)),
        "-" if timing.device is None else f"{timing.device.p50_ms:.2f}",
        f"{timing.clips_per_s:.1f}",
        str(latency.count),
    )


def main(files: Sequence[str]) -> None:
    timings = []
    for file in map(Path, files):
        said = content_of(file, expected="what ftsf bench --json printed", most=_MOST_BYTES)
        answer = json.loads(said.decode("utf-8").splitlines()[-1])
        timings += [(file.stem, structured(timing, Timing, str(file))) for timing in answer["timings"]]
    print(table_from_timings(timings))


if __name__ == "__main__":
    main(sys.argv[1:])
