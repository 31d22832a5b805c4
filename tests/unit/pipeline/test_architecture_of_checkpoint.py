"""A checkpoint brings its architecture; what was asked otherwise is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fast_timesformer import weights
from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import sha256_of
from ftsf_export.checkpoint.given import config_of_model
from ftsf_export.checkpoint.load import load_model
from ftsf_export.config import ExportConfig
from ftsf_export.errors import ConfigError, FtsfError, UsageError
from ftsf_export.pipeline.resolve import resolve_export

SHAPE = (2, 3, 32, 16, 7)


def small(**fields: Any) -> FastTimeSformer:
    torch.manual_seed(3)
    return FastTimeSformer(*SHAPE, dim=64, depth=1, attn_mechanism="regular", mlp_mult=2, **fields)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    weights.save_model(small(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_the_checkpoint_brings_its_architecture_and_weights(file: Path, tmp_path: Path) -> None:
    plan = resolve_export(ExportConfig(checkpoint=file, builder="none"), output=tmp_path / "out")
    config = plan.config
    assert (config.attn, config.frames, str(config.size), config.num_classes) == ("regular", 2, "32x16", 7)
    model = load_model(config, plan.checkpoint)
    assert model.config.mlp_mult == 2
    for name, value in small().state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value)
        assert torch.equal(load_model(ExportConfig(checkpoint=file)).state_dict()[name], value)


def test_the_plan_names_the_file_and_its_hash(file: Path, tmp_path: Path) -> None:
    plan = resolve_export(ExportConfig(checkpoint=file, builder="none"), output=tmp_path / "out")
    assert (
        plan.weights.described(plan.model)
        == f"checkpoint w.safetensors (FastTimeSformer), w.safetensors sha256 {sha256_of(file)[:16]}"
    )
    assert plan.preprocessing.crop == (32, 16)
    assert plan.as_dict()["checkpoint"]["sha256"] == sha256_of(file)


def test_what_was_asked_otherwise_is_refused_all_at_once(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_export(ExportConfig(checkpoint=file, dim=512, num_classes=9, builder="none"), output=tmp_path / "out")
    assert sorted(caught.value.problems) == [
        "dim: 512 was asked for, the checkpoint w.safetensors has 64",
        "num_classes: 9 was asked for, the checkpoint w.safetensors has 7",
    ]


def test_a_file_with_tensors_alone_goes_into_the_model_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    model = FastTimeSformer(*SHAPE, dim=64, depth=1, attn_mechanism="regular")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    asked = ExportConfig(
        attn="regular", frames=2, size="32x16", num_classes=7, dim=64, depth=1, checkpoint=path  # type: ignore[arg-type]
    )  # fmt: skip
    assert torch.equal(load_model(asked).head.weight, model.head.weight)
    with pytest.raises(UsageError, match=r"checkpoint: .*head.weight: expected shape \(9, 64\), got \(7, 64\)"):
        load_model(asked.replaced(num_classes=9))


def test_a_state_dict_of_another_model_is_told_in_few_words_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    model = FastTimeSformer(*SHAPE, dim=64, depth=2, attn_mechanism="regular")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    with pytest.raises(UsageError) as caught:
        load_model(ExportConfig(checkpoint=path))
    message = caught.value.message.replace(str(path), "bare.safetensors")
    assert "; and " in message
    assert "a state dict has no architecture: give the model's --attn" in message
    assert len(message) < 500
    assert caught.value.details.count("\n") > 100


def write_text(path: Path) -> None:
    path.write_text("not tensors")


def write_nothing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize("write", [write_text, write_nothing, Path.mkdir])
def test_what_is_no_checkpoint_is_said(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "w.safetensors"
    write(path)
    with pytest.raises(FtsfError) as caught:
        load_model(ExportConfig(checkpoint=path, dim=64, depth=1))
    assert caught.value.exit_code == 2
    assert caught.value.message.startswith("checkpoint: ")
    assert str(path) in caught.value.message


def test_frames_come_first(tmp_path: Path) -> None:
    model = small(frames_first=False)
    with pytest.raises(UsageError, match="frames_first=False"):
        config_of_model(ExportConfig(), model.config)
    weights.save_model(model, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="frames_first=False"):
        load_model(ExportConfig(checkpoint=tmp_path / "w.safetensors"))
