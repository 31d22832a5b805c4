"""``scripts/bench_export.py`` on tiny sizes: every column has a figure, and the charts are written."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytest.importorskip("tensorrt_rtx", reason="plans need TensorRT for RTX")

SCRIPT = Path(__file__).parents[3] / "scripts" / "bench_export.py"


def bench(*args: str | Path) -> str:
    command = [sys.executable, str(SCRIPT), "--quick", "--attn", "regular", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ours_and_plain_in_one_table(tmp_path: Path) -> None:
    said = bench("--no-hugging-face", "--plugins", "--rounds", "1", "--json", tmp_path / "figures.json")
    ours, plugins, plain = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in (ours, plugins, plain)] == [
        "regular, ours",
        "regular, ours, plugins",
        "regular, plain",
    ]
    assert plugins["plan"]["layer_types"]["plugin, modelled"] == 3
    assert plugins["plan"]["kernels"] < ours["plan"]["kernels"]
    assert plugins["plan"]["gemm_flops"] == ours["plan"]["gemm_flops"]
    assert ours["nodes"] < plain["nodes"]
    assert ours["plan"]["gemm_flops"] < plain["plan"]["gemm_flops"]
    assert ours["plan"]["moved_bytes"] < plain["plan"]["moved_bytes"]
    assert ours["plan"]["fused_attentions"] == 4
    assert ours["latency_ms"]["onnxruntime"] > 0
    assert all(name in said for name in ("GEMM GFLOP", "MB moved", "OpenVINO f32 ms"))


@pytest.mark.long
def test_a_sweep_writes_its_charts(tmp_path: Path) -> None:
    bench("--sweep", tmp_path / "sweep")
    rows = json.loads((tmp_path / "sweep" / "sweep.json").read_text(encoding="utf-8"))["regular"]
    assert [row["px"] for row in rows] == [32, 64]
    assert rows[0]["moved_mb"] < rows[1]["moved_mb"]
    for name in ("sweep-moved_mb.svg", "sweep-gflop.svg"):
        ET.parse(tmp_path / "sweep" / name)
