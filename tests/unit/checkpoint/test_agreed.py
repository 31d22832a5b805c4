"""What was asked against what a checkpoint is: contradictions, and the mechanism that may be another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fast_timesformer import save_model
from fast_timesformer.model import FastTimeSformer
from ftsf_export.checkpoint import describe_checkpoint, load_checkpoint
from ftsf_export.config import ExportConfig
from ftsf_export.errors import ConfigError


@pytest.mark.parametrize(
    ("asked", "theirs"),
    [
        ({"attn_type": "joint"}, "divided"),
        ({"depth": 12}, "2"),
        ({"dim": 512}, "32"),
        ({"heads": 8}, "2"),
        ({"dim_head": 64}, "16"),
        ({"num_classes": 400}, "7"),
        ({"patch_size": 16}, "8"),
        ({"channels": 1}, "3"),
        ({"rotary": True}, "False"),
    ],
)
def test_both_values_are_named(huggingface: Callable[..., Path], asked: dict[str, Any], theirs: str) -> None:
    """Also where what was asked is the default of the commands."""
    ((field, value),) = asked.items()
    with pytest.raises(ConfigError) as caught:
        describe_checkpoint(folder := huggingface(), ExportConfig(checkpoint=folder, **asked))
    assert caught.value.problems == (f"{field}: {value} was asked for, the checkpoint tiny has {theirs}",)
    assert caught.value.exit_code == 2


def test_all_of_them_at_once_and_none_where_they_agree(huggingface: Callable[..., Path]) -> None:
    folder = huggingface()
    with pytest.raises(ConfigError) as caught:
        describe_checkpoint(folder, ExportConfig(checkpoint=folder, depth=3, dim=64, heads=2, rotary=False))
    assert sorted(problem.split(":")[0] for problem in caught.value.problems) == ["depth", "dim"]
    same = ExportConfig(checkpoint=folder, depth=2, dim=32, heads=2, dim_head=16, num_classes=7, attn="regular")
    assert describe_checkpoint(folder, same).model == describe_checkpoint(folder, ExportConfig()).model


def test_defaults_give_way(huggingface: Callable[..., Path]) -> None:
    """Nothing was written: fastformer, 512 wide and 400 classes are defaults, not wishes."""
    checkpoint = describe_checkpoint(folder := huggingface(), ExportConfig(checkpoint=folder))
    assert (checkpoint.model.attn_mechanism, checkpoint.model.dim) == ("regular", 32)
    assert not checkpoint.weights.need_fine_tuning_in(checkpoint.model)


@pytest.mark.parametrize("attn", ["fastformer", "performer"])
def test_another_mechanism_keeps_every_weight_that_fits(huggingface: Callable[..., Path], attn: str) -> None:
    folder = huggingface()
    trained, _ = load_checkpoint(folder, ExportConfig())
    config = ExportConfig(checkpoint=folder, attn=attn, seed=3)
    before = torch.random.get_rng_state()
    swapped, checkpoint = load_checkpoint(folder, config)
    assert torch.equal(torch.random.get_rng_state(), before)
    fresh = {name for name in swapped.state_dict() if name.endswith((".w_q", ".w_k", ".omega"))}
    assert set(checkpoint.fresh) == fresh != set()
    for name, tensor in trained.state_dict().items():
        assert torch.equal(swapped.state_dict()[name], tensor), name
    again, other = (load_checkpoint(folder, config.replaced(seed=seed))[0].state_dict() for seed in (3, 4))
    assert all(torch.equal(again[name], tensor) for name, tensor in swapped.state_dict().items())
    assert not any(torch.equal(other[name], again[name]) for name in fresh)
    assert "NOT FINE-TUNED" in checkpoint.weights.described(checkpoint.model)
    assert any(warning.startswith("NEEDS FINE-TUNING") for warning in checkpoint.warnings)
    assert checkpoint.weights.need_fine_tuning_in(checkpoint.model)


def test_what_the_new_mechanism_has_no_place_for_is_listed(tmp_path: Path) -> None:
    model = FastTimeSformer(2, 3, 16, 16, 3, dim=32, dim_head=16, depth=1, attn_mechanism="fastformer")
    save_model(model, tmp_path / "a.safetensors")
    config = ExportConfig(checkpoint=tmp_path / "a.safetensors", attn="regular")
    swapped, checkpoint = load_checkpoint(tmp_path / "a.safetensors", config)
    assert {name.rsplit(".", 1)[1] for name in checkpoint.unused} == {"w_q", "w_k"}
    assert len(checkpoint.unused) == 4
    assert checkpoint.fresh == ()
    assert set(swapped.state_dict()) == set(model.state_dict()) - set(checkpoint.unused)


def test_one_position_a_token_is_not_interpolated(tmp_path: Path) -> None:
    model = FastTimeSformer(2, 3, 16, 16, 3, dim=32, dim_head=16, depth=1, rotary_emb=False)
    save_model(model, tmp_path / "a.safetensors")
    path = tmp_path / "a.safetensors"
    with pytest.raises(ConfigError, match="one learned position a token, for 2 frames of 16x16"):
        describe_checkpoint(path, ExportConfig(checkpoint=path, frames=4))
    assert describe_checkpoint(path, ExportConfig(checkpoint=path, frames=2, size=16)).model == model.config


def test_a_size_that_patches_do_not_fill(huggingface: Callable[..., Path]) -> None:
    folder = huggingface()
    with pytest.raises(ConfigError, match="height: expected a multiple of patch_size 8, got 20"):
        describe_checkpoint(folder, ExportConfig(checkpoint=folder, size="20x24"))
