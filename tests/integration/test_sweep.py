"""``ftsf sweep`` end to end: cells in processes of their own, the page, going on, and cells that break."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftsf_export.cli.main import ftsf, run

GRID = (
    *("sweep", "--attn", "regular", "--size", "32", "--size", "48", "--frames", "2", "--dim", "64", "--depth", "1"),
    *(
        "--num-classes",
        "10",
        "--precision",
        "fp32",
        "--runner",
        "onnxruntime",
        "--seconds",
        "0.01",
        "--iterations",
        "3",
    ),
)
NAMES = ["regular-divided-2x32-b1-fp32", "regular-divided-2x48-b1-fp32"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("sweep") / "out"
    return output, swept_again(output)


def swept_again(output: Path, *more: str, code: int = 0) -> dict[str, Any]:
    line = [sys.executable, "-m", "ftsf_export.cli", *GRID, *more, "-o", str(output), "--json"]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert ended.returncode == code, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found | {"stderr": ended.stderr}


def test_every_cell_is_exported_judged_planned_and_measured(swept: tuple[Path, dict[str, Any]]) -> None:
    output, said = swept
    assert [cell["name"] for cell in said["cells"]] == NAMES
    assert {cell["ended"] for cell in said["cells"]} == {"passed"}
    assert [cell["tokens"] for cell in said["cells"]] == [9, 19]
    for cell in said["cells"]:
        assert cell["costs_ms"]["measured, CPU (ONNX Runtime)"] > 0
    record = json.loads((output / "sweep.json").read_text())
    gates = {verdict["gate"] for cell in record["cells"] for verdict in cell["verdicts"]}
    assert "parity.onnx-fp32" in gates
    assert {path.name for path in output.iterdir()} == {"cells", "sweep.json", "sweep.html"}
    page = (output / "sweep.html").read_text()
    assert page.count("<svg") >= 1
    assert "RANDOM WEIGHTS" in page
    assert "<script" not in page


def test_what_is_finished_is_not_run_again_and_what_was_changed_is(swept: tuple[Path, dict[str, Any]]) -> None:
    output, said = swept
    times = {path.name: path.stat().st_mtime_ns for path in (output / "cells").iterdir()}
    damaged = output / "cells" / f"{NAMES[0]}.json"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:100])
    again = swept_again(output)
    assert [cell["ended"] for cell in again["cells"]] == ["passed", "passed"]
    assert again["cells"][1] == said["cells"][1]
    assert (output / "cells" / f"{NAMES[1]}.json").stat().st_mtime_ns == times[f"{NAMES[1]}.json"]
    assert json.loads(damaged.read_bytes())["fingerprint"] == json.loads(whole)["fingerprint"]


def test_a_precision_that_no_compiler_takes_has_no_plan_and_is_no_fault(tmp_path: Path) -> None:
    line = [*GRID[:3], "--size", "32", *GRID[7:15], "--precision", "int8"]
    ended = subprocess.run(
        [sys.executable, "-m", "ftsf_export.cli", *line, "-o", str(tmp_path / "out"), "--json"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (cell,) = json.loads((tmp_path / "out" / "sweep.json").read_text())["cells"]
    assert (cell["ended"], cell["plan"], cell["plan_problem"]) == (
        "passed",
        None,
        "this version makes no engines in int8",
    )


def test_a_cell_that_breaks_does_not_stop_the_others_and_is_tried_again(tmp_path: Path) -> None:
    said = swept_again(tmp_path / "out", "--timeout", "0.05", code=4)
    assert [cell["ended"] for cell in said["cells"]] == ["broken", "broken"]
    assert "was not done after 0.05 s" in said["cells"][0]["said"]
    assert "2 of 2 cells broke" in said["error"]
    listed = swept_again(tmp_path / "out", "--dry-run")
    assert [cell["finished"] for cell in listed["cells"]] == [False, False]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--attn", "linear"), "linear"),
        (("--target", "rtx-31"), "rtx-30"),
        (("--batch", "0"), "batch"),
        (("--runner", "cuda"), "runner"),
    ],
)
def test_bad_usage_makes_nothing(args: tuple[str, ...], said: str, tmp_path: Path, capsys: Any) -> None:
    assert run(ftsf, [*GRID, *args, "-o", str(tmp_path / "out")], "ftsf") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run(ftsf, [*GRID, "-o", str(tmp_path)], "ftsf") == 2
    assert "mine.txt" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["mine.txt"]
