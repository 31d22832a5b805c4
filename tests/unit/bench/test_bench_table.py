"""The Markdown table of scripts/bench-gpu, and what that script does where there is no GPU."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ftsf_export.bench.sampling import Samples
from ftsf_export.bench.statistics import timing_from_samples
from ftsf_export.bench.table import main, table_from_timings
from ftsf_export.runners.driver import gpu_problem
from ftsf_export.strict_json import plain
from ftsf_export.timing import TimedFile, Timing

ROOT = Path(__file__).parents[3]


def timing_of(subject: TimedFile, latency_ms: float, device_ms: float | None) -> Timing:
    samples = Samples(
        warmup_iterations=3,
        latency_ms=(latency_ms,) * 100,
        device_ms=None if device_ms is None else (device_ms,) * 100,
        elapsed_s=1.0,
    )
    return timing_from_samples(replace(subject, heading="NVIDIA L4 (TensorRT 11.1.0)"), samples)


def test_one_row_a_timing(subject: TimedFile) -> None:
    noted = replace(subject, notes=("no gate has passed it",))
    table = table_from_timings([("bench-a", timing_of(noted, 4.0, 3.5)), ("bench-b", timing_of(subject, 8.0, None))])
    head, rule, *rows = [line for line in table.splitlines() if line.startswith("|")]
    assert head.count("|") == rule.count("|") == rows[0].count("|") == rows[1].count("|") == 11
    assert rows == [
        "| bench-a | NVIDIA L4 (TensorRT 11.1.0) | fp32 | 2 | 4.00 | 4.00 | 4.00 | 3.50 | 500.0 | 100 |",
        "| bench-b | NVIDIA L4 (TensorRT 11.1.0) | fp32 | 2 | 8.00 | 8.00 | 8.00 | - | 250.0 | 100 |",
    ]
    assert table.splitlines()[-3:] == [
        "- Weights of bench-a: random, seed 0.",
        "- Weights of bench-b: random, seed 0.",
        "- bench-a: no gate has passed it.",
    ]


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one timing"):
        table_from_timings([])


def test_files_of_the_command(tmp_path: Path, subject: TimedFile, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench-a.json"
    file.write_text(json.dumps({"timings": [plain(timing_of(subject, 4.0, 3.5))], "exit_code": 0}) + "\n")
    main([str(file)])
    assert "| bench-a | NVIDIA L4" in capsys.readouterr().out


@pytest.mark.skipif(not gpu_problem(), reason="there is a GPU here")
def test_the_script_without_a_gpu() -> None:
    done = subprocess.run([ROOT / "scripts" / "bench-gpu"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (3, "not run: no GPU\n")
