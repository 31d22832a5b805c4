"""Plausible mistakes, written down, and what is answered: what, where, expected, got, and how to mend it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ftsf_export import Bundle, ExportConfig, FtsfError, export

LONGEST = 500
# What is typed (B is a bundle; everything runs in an empty directory), the exit code, and parts of the one line.
TYPED = (
    ("ftsf exprt", 2, "expected a command", "got 'exprt'", "did you mean export?"),
    ("ftsf", 2, "a command is missing", "export, verify, build"),
    ("ftsf export --precison fp16", 2, "--precison", "--precision", "ftsf export --help"),
    ("ftsf export --attn fastfourier", 2, "attn: expected one of fastformer, performer, regular", "got 'fastfourier'"),
    ("ftsf export --attn-type global", 2, "attn_type: expected one of divided, joint, space", "got 'global'"),
    ("ftsf export --frames 0", 2, "frames: expected a whole number of at least 1, got 0"),
    ("ftsf export --frames eight", 2, "'--frames'", "'eight'"),
    ("ftsf export --size 225", 2, "size: expected a multiple of patch_size 16, got 225", "take 224 or 240"),
    ("ftsf export --size 224x", 2, "size: expected 224 or 240x320 (height x width), got '224x'"),
    ("ftsf export --size 0", 2, "size: expected at least 1x1 pixels, got 0x0"),
    ("ftsf export --patch-size 0", 2, "patch_size: expected a whole number of at least 1, got 0"),
    ("ftsf export --dim 500", 2, "got 500", "take 448 or 512, or give heads as well"),
    ("ftsf export --heads 4", 2, "heads: ", "got 4 * 64", "take 8 heads"),
    ("ftsf export --depth -1", 2, "depth: expected a whole number of at least 1, got -1"),
    ("ftsf export --num-classes -1", 2, "num_classes: expected a whole number of at least 0, got -1"),
    ("ftsf export --precision fp15", 2, "precision: expected one of fp32, fp16, bf16", "got 'fp15'"),
    ("ftsf export --precision int8", 2, "makes no engines in int8", "--builder none"),
    ("ftsf export --precision bf16 --target t4 --builder none", 2, "7.5 has no bf16", "possible: fp32, fp16"),
    ("ftsf export --opset 17", 2, "opset: expected one of 20, 21, 22, 23, 24, got 17"),
    ("ftsf export --batch 0", 2, "batch: expected 1 <= MIN <= OPT <= MAX", "got 0:0:0"),
    ("ftsf export --batch 4:2:1", 2, "batch: expected 1 <= MIN <= OPT <= MAX", "got 4:2:1"),
    ("ftsf export --batch 1-8", 2, "batch: expected one number or MIN:OPT:MAX, got '1-8'"),
    ("ftsf export --target orin", 2, "target: expected one of rtx, rtx-30", "did you mean jetson-orin?"),
    ("ftsf export --target rtx-30 --target rtx-30", 2, "target: each at most once, got rtx-30, rtx-30"),
    ("ftsf export --builder trt", 2, "builder: expected one of auto, tensorrt, rtx, none, got 'trt'"),
    ("ftsf export --builder rtx --target jetson-orin", 2, "does not run on Jetson Orin", "possible: --builder auto"),
    ("ftsf export --rewrite regroup", 2, "rewrite: expected some of", "got regroup", "did you mean regrouping?"),
    ("ftsf export --rewrite regrouping --no-rewrite regrouping", 2, "switched on and off", "give one of"),
    ("ftsf export --plugins some", 2, "plugins: expected one of none, all, auto, got 'some'"),
    ("ftsf export --checkpoint missing.pth", 2, "missing.pth: no such file", "expected a Hugging Face directory"),
    ("ftsf export --checkpoint text.txt", 2, "text.txt: expected a safetensors file or one that torch.save wrote"),
    ("ftsf export --checkpoint empty", 2, "empty: expected a Hugging Face directory", "has no config.json"),
    ("ftsf export --video missing.mp4", 2, "video: expected a file, found none at missing.mp4"),
    ("ftsf export --held-out missing", 2, "missing: expected a folder of videos by class (CLASS/*.mp4)"),
    ("ftsf export --rtol -1", 2, "rtol: expected a finite number above 0, got -1.0"),
    ("ftsf export --seed -1", 2, "seed: expected a whole number from 0", "got -1"),
    ("ftsf export --dry-run -o B", 2, "a bundle is there already", "give --overwrite, or another directory"),
    ("ftsf export --dry-run -o text.txt/out", 2, "text.txt is a file, not a directory", "choose another place"),
    ("ftsf verify", 2, "Missing argument 'BUNDLE'", "ftsf verify --help"),
    ("ftsf verify missing", 2, "missing: no such bundle", "make one with: ftsf-export -o missing"),
    ("ftsf verify empty", 2, "empty: not a bundle: it holds no manifest.json", "give a directory that"),
    ("ftsf verify B/model.onnx", 2, "a file, not a bundle directory", "give its directory: B"),
    ("ftsf verify B --runner gpu", 2, "runner: expected one of auto, onnxruntime, tensorrt, rtx, got 'gpu'"),
    ("ftsf verify B --runner tensorrt", 2, "no engine of tensorrt", "ftsf build --builder tensorrt"),
    ("ftsf build B --target jetson-orin", 3, "nothing was built", "on that machine, run: ftsf build B"),
    ("ftsf build B --builder none", 2, "ftsf build makes engines", "got 'none'"),
    ("ftsf build B --batch 2", 2, "takes exactly 1 clips in a call, got 2", "ftsf-export --batch 2"),
    ("ftsf bench B --seconds -1", 2, "seconds: expected", "got -1"),
    ("ftsf info B C", 2, "unexpected extra argument (C)", "ftsf info --help"),
    ("ftsf doctor --for fly", 2, "--for: expected one of export, verify", "got 'fly'"),
    ("ftsf finetune missing -o x.safetensors", 2, "missing", "expected a folder of videos by class (CLASS/*.mp4)"),
)  # fmt: skip


@pytest.fixture
def here(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "here"
    (place / "empty").mkdir(parents=True)
    (place / "text.txt").write_text("not a checkpoint")
    bundle.rename(place / "B")
    monkeypatch.chdir(place)
    return place


def test_each_slip_at_the_command_line_is_answered(here: Path, say: Any) -> None:
    before = sorted(here.rglob("*"))
    assert len(TYPED) >= 40
    for line, code, *parts in TYPED:
        said = say(*shlex.split(line)[1:])
        (error,) = said.err.splitlines()
        assert (said.code, [part for part in parts if part not in error]) == (code, []), f"{line}: {error}"
        assert error.startswith("error: "), line
        assert len(error) < LONGEST, line
    assert sorted(here.rglob("*")) == before


def written(**fields: Any) -> Callable[[], Any]:
    return lambda: ExportConfig(**fields)


def exported(**arguments: Any) -> Callable[[], Any]:
    return lambda: export(ExportConfig(builder="none"), **{"output": "out", **arguments})


IN_PYTHON = (
    (written(size="large"), "size: expected 224 or 240x320", "got 'large'"),
    (written(size=(240, 320, 3)), "size: expected", "(240, 320, 3)"),
    (written(frames="8 frames"), "frames: expected a whole number", "'8 frames'"),
    (written(frames=0, dim=0), "frames: expected", "dim: expected"),
    (written(attn="softmax"), "attn: expected one of fastformer, performer, regular", "got 'softmax'"),
    (written(batch=(1, 2, 4)), "batch: expected one number or MIN:OPT:MAX", "(1, 2, 4)"),
    (written(precision=torch.float16), "precision: expected one of fp32, fp16, bf16", "torch.float16"),
    (written(targets=[86]), "target: expected a list of names", "86"),
    (written(videos=[1]), "videos: expected", "1"),
    (written(rtol=0), "rtol: expected a finite number above 0, got 0"),
    (exported(model=torch.nn.Linear(2, 2)), "model: expected a fast_timesformer.FastTimeSformer", "got Linear"),
    (exported(model=torch.nn.Linear(2, 2).state_dict()), "model: expected a fast_timesformer.FastTimeSformer"),
    (exported(output="B"), "a bundle is there already", "give overwrite=True, or another directory"),
    (exported(output="text.txt"), "exists and is not a directory", "choose another"),
    (lambda: Bundle.open("empty"), "empty: not a bundle: it holds no manifest.json"),
    (lambda: Bundle.open("B/model.onnx"), "a file, not a bundle directory", "give its directory: B"),
)  # fmt: skip


@pytest.mark.usefixtures("here")
def test_each_slip_in_python_is_answered() -> None:
    assert len(IN_PYTHON) >= 15
    for call, *parts in IN_PYTHON:
        with pytest.raises(FtsfError) as caught:
            call()
        message = caught.value.message
        assert [part for part in parts if part not in message] == [], message
        assert len(message) < LONGEST
        assert caught.value.exit_code == 2


@pytest.mark.usefixtures("here")
def test_an_unknown_field_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'frame'"):
        ExportConfig(frame=8)  # type: ignore[call-arg]
