"""What training code wraps around a network's tensors: keys, words before the names, figures of NumPy."""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ftsf_export.checkpoint import describe_checkpoint, load_checkpoint, take_out
from ftsf_export.checkpoint.plain_numbers import Kind, number
from ftsf_export.config import ExportConfig
from ftsf_export.errors import OutputError, UsageError
from tests.unit.checkpoint.original import original_logits, original_state
from tests.unit.checkpoint.pretrained import noise, relative, their_model

FIELDS = {"dim": 64, "depth": 1}
STATE = original_state(**FIELDS)
SAID = {"heads": 2, "norm_eps": 1e-6}


def check_parity(path: Path, **asked: Any) -> None:
    """Ours in float64 gives what the equations give for the tensors of ``STATE``."""
    ours, checkpoint = load_checkpoint(path, ExportConfig(checkpoint=path, **{**SAID, **asked}))
    clip = noise(4, 24, 24)
    with torch.no_grad():
        expected = original_logits(STATE, clip, heads=2, eps=1e-6)
        assert relative(ours.double()(clip), expected) <= 1e-5
    assert (checkpoint.fresh, checkpoint.weights.assumed) == ((), ())


def named(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in STATE.items()}


@pytest.mark.parametrize("prefix", ["net.", "model.model.", "module.encoder.backbone.", "model._orig_mod."])
@pytest.mark.parametrize("group", ["model_state_dict", "module", "ema", "state_dict", ""])
def test_any_one_prefix_below_any_key(tmp_path: Path, prefix: str, group: str) -> None:
    torch.save({group: named(prefix), "epoch": 3} if group else named(prefix), tmp_path / "a.ckpt")
    check_parity(tmp_path / "a.ckpt")


def test_a_prefix_in_safetensors(tmp_path: Path) -> None:
    save_file(named("net."), tmp_path / "a.safetensors")
    check_parity(tmp_path / "a.safetensors")


def test_averaged_weights_are_left_where_there_are_others(tmp_path: Path) -> None:
    others = {name: tensor + 1 for name, tensor in STATE.items()}
    torch.save({"ema": others, "model": STATE}, tmp_path / "a.pth")
    check_parity(tmp_path / "a.pth")
    assert describe_checkpoint(tmp_path / "a.pth", ExportConfig()).unused == (f"ema (dict of {len(STATE)})",)


def test_two_networks_are_named(tmp_path: Path) -> None:
    torch.save({**named("student."), **named("teacher.")}, tmp_path / "a.pth")
    with pytest.raises(UsageError, match=r"holds 2 networks, with names below 'student\.', 'teacher\.'"):
        describe_checkpoint(tmp_path / "a.pth", ExportConfig())


def test_what_lies_beside_the_network_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": {**named("net."), "loss.weight": torch.ones(7)}}, tmp_path / "a.ckpt")
    with pytest.raises(UsageError, match=r"unknown loss\.weight \(7\)"):
        describe_checkpoint(tmp_path / "a.ckpt", ExportConfig())


FIGURES = (np.float64(0.5), np.float32(3.5), np.float16(1.5), np.int64(-3), np.uint8(200), np.bool_(True))


@pytest.mark.parametrize("figure", [*FIGURES, np.array(2, ">f8")[()]])
@pytest.mark.parametrize("package", ["numpy._core.multiarray", "numpy.core.multiarray"])
def test_figures_of_numpy_beside_the_weights(tmp_path: Path, figure: Any, package: str) -> None:
    """Also as NumPy before 2 named its package."""
    torch.save(
        {"model_state_dict": STATE, "best": figure, "by_epoch": [figure, {"last": figure}]}, tmp_path / "new.pth"
    )
    with zipfile.ZipFile(tmp_path / "new.pth") as archive, zipfile.ZipFile(tmp_path / "a.pth", "w") as renamed:
        for entry in archive.infolist():
            data = archive.read(entry)
            renamed.writestr(entry.filename, data.replace(b"numpy._core.multiarray", package.encode()))
    check_parity(tmp_path / "a.pth")
    assert f"best ({figure.item()})" in describe_checkpoint(tmp_path / "a.pth", ExportConfig()).unused


@pytest.mark.parametrize("code", ["O", "V8", "S1", "M8", "f16", 3, None, "f8f8"])
def test_only_plain_numbers(code: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match="expected one of b1"):
        Kind(code, False, True)
    with pytest.raises(pickle.UnpicklingError):
        Kind("f8").__setstate__((3, "x"))
    for data in (b"", b"123", "text"):
        with pytest.raises(pickle.UnpicklingError):
            number(Kind("f8"), data)
    with pytest.raises(pickle.UnpicklingError):
        number(object(), b"12345678")


class Marker:
    """Says so when it is made."""

    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def test_the_line_that_takes_tensors_out_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning keeps a Namespace beside the weights; the error has the line, and the line gives a file that reads."""
    monkeypatch.chdir(tmp_path)
    path = Path("my run's.ckpt")
    hyper = argparse.Namespace(lr=0.1, heads=2)
    torch.save({"state_dict": named("net."), "hyper_parameters": {"args": hyper}}, path)
    with pytest.raises(UsageError, match="would run code; this takes its tensors out and runs nothing: ") as caught:
        describe_checkpoint(path, ExportConfig())
    line = caught.value.message.partition("runs nothing: ")[2]
    assert line.startswith("python -c ")
    subprocess.run(line.replace("python", sys.executable, 1), shell=True, check=True, cwd=tmp_path)
    check_parity(path.with_suffix(".safetensors"))
    with pytest.raises(OutputError, match="is there already"):
        take_out(path, path.with_suffix(".safetensors"))


@pytest.mark.parametrize("old", [False, True])
def test_what_would_run_is_not_run_by_it_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"state_dict": STATE, "x": Marker(), "y": slice(1, 2), "z": argparse.Namespace(a=1)}
    torch.save(content, "a.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(UsageError, match="no tensors can be had of it without running what is in it"):
        take_out("a.pth", "b.safetensors")
    del content["x"]
    torch.save(content, "a.pth", _use_new_zipfile_serialization=not old)
    take_out("a.pth", "b.safetensors")
    assert not Path("ran").exists()
    assert set(load_file("b.safetensors")) == set(STATE)


def test_a_lightning_file_of_hugging_faces_model(tmp_path: Path) -> None:
    theirs = their_model(num_hidden_layers=1)
    theirs.config.save_pretrained(tmp_path)
    torch.save({"state_dict": {f"net.{k}": v for k, v in theirs.state_dict().items()}}, tmp_path / "a.ckpt")
    ours, checkpoint = load_checkpoint(tmp_path / "a.ckpt", ExportConfig())
    assert checkpoint.found.kind == "Hugging Face"
    clip = noise(4, 24, 24)
    with torch.no_grad():
        assert relative(ours.double()(clip), theirs.double()(clip).logits) <= 1e-10
