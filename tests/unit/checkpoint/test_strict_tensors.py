"""Every tensor has a place: what is missing, too many or misshapen is named, all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fast_timesformer import save_model
from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import Preprocessing
from ftsf_export.checkpoint import describe_checkpoint, load_checkpoint
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError
from tests.unit.checkpoint.pretrained import original_names, their_model, write_pyth


def test_all_of_them_are_named(huggingface: Callable[..., Path]) -> None:
    file = huggingface() / "model.safetensors"
    tensors = load_file(file)
    del tensors["timesformer.encoder.layer.1.temporal_dense.bias"]
    tensors["classifier.weight"] = tensors["classifier.weight"][:5].clone()
    tensors["timesformer.adapter"] = torch.ones(3)
    save_file(tensors, file)
    with pytest.raises(UsageError) as caught:
        describe_checkpoint(file.parent, ExportConfig())
    assert caught.value.exit_code == 2
    for part in (
        "3 tensors do not fit",
        "missing timesformer.encoder.layer.1.temporal_dense.bias (32)",
        "unknown timesformer.adapter (3)",
        "classifier.weight: expected shape (7, 32), got (5, 32)",
    ):
        assert part in caught.value.message


def test_in_an_original_file_too(tmp_path: Path) -> None:
    theirs = their_model(hidden_size=128, intermediate_size=256)
    path = write_pyth(tmp_path / "a.pyth", theirs)
    tensors = original_names(theirs)
    del tensors["blocks.1.norm2.weight"]
    tensors["blocks.0.extra"] = torch.ones(1)
    torch.save({"model_state": {f"model.{name}": tensor for name, tensor in tensors.items()}}, path)
    with pytest.raises(UsageError, match=r"missing blocks.1.norm2.weight \(128\); unknown blocks.0.extra \(1\)"):
        describe_checkpoint(path, ExportConfig())


def test_half_a_head_is_refused_and_none_is_a_model_without_one(huggingface: Callable[..., Path]) -> None:
    file = huggingface() / "model.safetensors"
    whole = load_file(file)
    save_file({name: t for name, t in whole.items() if name != "classifier.weight"}, file)
    with pytest.raises(UsageError, match=r"missing classifier.weight \(7, 32\)"):
        describe_checkpoint(file.parent, ExportConfig())
    save_file({name: t for name, t in whole.items() if "classifier" not in name}, file)
    checkpoint = describe_checkpoint(file.parent, ExportConfig())
    assert (checkpoint.model.num_classes, checkpoint.labels) == (0, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(huggingface: Callable[..., Path], value: float) -> None:
    file = huggingface() / "model.safetensors"
    tensors = load_file(file)
    tensors["timesformer.layernorm.bias"][3] = value
    save_file(tensors, file)
    with pytest.raises(UsageError, match=r"timesformer.layernorm.bias: holds NaN or infinity"):
        load_checkpoint(file.parent, ExportConfig())


def test_whole_numbers_are_no_weights(huggingface: Callable[..., Path]) -> None:
    file = huggingface() / "model.safetensors"
    tensors = load_file(file)
    tensors["classifier.bias"] = torch.ones(7, dtype=torch.int64)
    save_file(tensors, file)
    with pytest.raises(UsageError, match=r"classifier.bias: expected a floating type, got torch.int64"):
        load_checkpoint(file.parent, ExportConfig())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(huggingface: Callable[..., Path], dtype: torch.dtype) -> None:
    file = huggingface() / "model.safetensors"
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
    save_file(tensors, file)
    model, _ = load_checkpoint(file.parent, ExportConfig())
    assert torch.equal(model.head.weight, tensors["classifier.weight"].float())


def test_ours_with_labels_and_preprocessing(tmp_path: Path) -> None:
    model = FastTimeSformer(2, 3, 16, 32, 3, dim=32, dim_head=16, depth=1)
    how = {"mean": [0.1, 0.2, 0.3], "std": [1, 2, 3], "resize_short_side": 40, "resample": "bicubic", "stride": 5}
    save_model(model, tmp_path / "a.safetensors", labels=["left", "right", "up"], preprocessing=how)
    loaded, checkpoint = load_checkpoint(tmp_path / "a.safetensors", ExportConfig())
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    assert checkpoint.labels == ("left", "right", "up")
    assert checkpoint.preprocessing == Preprocessing(
        frames=2, stride=5, resize_short_side=40, crop=(16, 32), mean=(0.1, 0.2, 0.3), std=(1, 2, 3), resample="bicubic"
    )


def test_ours_without_resizing(tmp_path: Path) -> None:
    """Null is the way to say that frames are not resized; what is left out is the default."""
    model = FastTimeSformer(2, 3, 16, 32, 3, dim=32, dim_head=16, depth=1)
    for name, said, side in (("a", {"resize_short_side": None}, None), ("b", {}, 32)):
        save_model(model, tmp_path / name, preprocessing=said)
        assert describe_checkpoint(tmp_path / name, ExportConfig()).preprocessing.resize_short_side == side


@pytest.mark.parametrize("wrong", [{"mean": [1]}, {"std": [0, 1, 1]}, {"resample": "best"}, {"stride": 0}])
def test_ours_with_a_wrong_preprocessing(tmp_path: Path, wrong: dict[str, object]) -> None:
    model = FastTimeSformer(2, 3, 16, 32, 3, dim=32, dim_head=16, depth=1)
    save_model(model, tmp_path / "a.safetensors", preprocessing=wrong)
    with pytest.raises(UsageError, match=f"preprocessing: {next(iter(wrong))}: expected"):
        describe_checkpoint(tmp_path / "a.safetensors", ExportConfig())
