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
from ftsf_export.cli.main import ftsf, run
from ftsf_export.pipeline.training import write_motion

SMALL = ["--frames", "2", "--size", "16", "--patch-size", "8", "--dim", "16", "--depth", "1", "--dim-head", "8"]
HOW = ["--attn", "performer", "--train-precision", "fp32", "--redraw-every", "2", "--epochs", "2", "--batch", "5"]


def arguments(data: Path, output: Path) -> list[str]:
    """Batches of 5 and 4 clips: one of two processes has more to do than the other, and once both as much."""
    # Clips vary, and both see the same ones: what is drawn depends on the clip and on no process.
    return [str(data), "-o", str(output), *HOW, *SMALL, "--accumulate", "2", "--eval-crops", "3", "--json"]


def by_torchrun(data: Path, output: Path) -> subprocess.CompletedProcess[str]:
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ftsf_export.cli"]
    command = [sys.executable, *start, "finetune", *arguments(data, output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion") / "videos"
    write_motion(folder, Motion(frames=2, size=32), train=9, held_out=5, seed=0, test=4)
    return folder


def test_two_processes_train_as_one_does(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    assert run(ftsf, ["finetune", *arguments(videos, paths[0])], "ftsf") == 0
    done = by_torchrun(videos, paths[1])
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, "the first process alone speaks"
    (one, model), (two, other) = (
        (json.loads(said), load_model(path))
        for said, path in zip((capsys.readouterr().out.splitlines()[-1], done.stdout), paths, strict=True)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.safetensors", "2.safetensors"]
    for a, b in zip(one["epochs"], two["epochs"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
        assert b["held_out_top1"] == a["held_out_top1"]
    assert two["judged"] == one["judged"]
    assert (one["judged"]["folder"], one["judged"]["crops"], one["judged"]["videos"]) == ("test", 3, 4)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-3, atol=2e-5)


@pytest.mark.long
def test_an_error_in_one_process_ends_all_with_one_line(videos: Path, tmp_path: Path) -> None:
    """A broken video, which one of the two meets."""
    broken = tmp_path / "data" / "train"
    for path in sorted((videos / "train").rglob("*.mp4")):
        place = broken / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    place.write_bytes(b"no video")
    done = by_torchrun(broken.parent, tmp_path / "never.safetensors")
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if "error:" in line and "ftsf" not in line]
    own = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(own) == 1, said
    assert place.name in own[0]
    assert "terminated" not in done.stderr
    assert not (tmp_path / "never.safetensors").exists()
