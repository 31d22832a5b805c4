"""Two processes of torchrun on the CPU (gloo) against one: the same weights, one writer, one line where it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fast_timesformer.finetune import Motion
from fast_timesformer.weights import load_model
from ftsf_export.pipeline.training import write_motion

SMALL = ["--frames", "2", "--size", "16", "--patch-size", "8", "--dim", "16", "--depth", "1", "--dim-head", "8"]
HOW = ["--attn", "performer", "--train-precision", "fp32", "--redraw-every", "2", "--epochs", "2", "--batch", "5"]


def finetune(data: Path, output: Path, *, processes: int) -> subprocess.CompletedProcess[str]:
    """Batches of 5 and 4 clips: one of two processes has more to do than the other, and once both as much."""
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    start = [*run, "-m", "ftsf_export.cli"] if processes > 1 else ["-m", "ftsf_export.cli"]
    args = ["finetune", str(data), "-o", str(output), *HOW, *SMALL, "--accumulate", "2", "--eval-crops", "3", "--json"]
    # Clips vary, and both see the same ones: what is drawn depends on the clip and on no process.
    command = [sys.executable, *start, *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion") / "videos"
    write_motion(folder, Motion(frames=2, size=32), train=9, held_out=5, seed=0, test=4)
    return folder


def test_two_processes_train_as_one_does(videos: Path, tmp_path: Path) -> None:
    found = []
    for processes in (1, 2):
        done = finetune(videos, tmp_path / f"{processes}.safetensors", processes=processes)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 1, "the first process alone speaks"
        found.append((json.loads(lines[0]), load_model(tmp_path / f"{processes}.safetensors")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.safetensors", "2.safetensors"]
    (one, model), (two, other) = found
    for a, b in zip(one["epochs"], two["epochs"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
        assert b["held_out_top1"] == a["held_out_top1"]
    assert two["judged"] == one["judged"]
    assert (one["judged"]["folder"], one["judged"]["crops"], one["judged"]["videos"]) == ("test", 3, 4)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-3, atol=2e-5)


def test_an_error_in_one_process_ends_all_with_one_line(videos: Path, tmp_path: Path) -> None:
    """A broken video, which one of the two meets."""
    broken = tmp_path / "data" / "train"
    for path in sorted((videos / "train").rglob("*.mp4")):
        place = broken / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    place.write_bytes(b"no video")
    done = finetune(broken.parent, tmp_path / "never.safetensors", processes=2)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if "error:" in line and "ftsf" not in line]
    own = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(own) == 1, said
    assert place.name in own[0]
    assert "terminated" not in done.stderr
    assert not (tmp_path / "never.safetensors").exists()
