"""Files as facebookresearch/TimeSformer writes them: the same tensors under its names, no word about the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ftsf_export.bundle import Preprocessing
from ftsf_export.checkpoint import describe_checkpoint, load_checkpoint
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError
from tests.unit.checkpoint.pretrained import noise, original_names, relative, their_model, write_pyth

WIDE = {"hidden_size": 128, "intermediate_size": 256}
SAID = ExportConfig(checkpoint=Path("a.pyth"), heads=2, norm_eps=1e-6)


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("attention_type", ["divided_space_time", "joint_space_time"])
def test_the_same_outputs(tmp_path: Path, attention_type: str, qkv_bias: bool) -> None:
    theirs = their_model(attention_type=attention_type, qkv_bias=qkv_bias, **WIDE)
    ours, checkpoint = load_checkpoint(write_pyth(tmp_path / "a.pyth", theirs), SAID)
    clip = noise(4, 24, 24, clips=2)
    with torch.no_grad():
        assert relative(ours.double()(clip), theirs.double()(clip).logits) <= 1e-10
    assert checkpoint.found.kind == "facebookresearch/TimeSformer"
    assert (checkpoint.model.attn_type, checkpoint.model.qkv_bias) == (attention_type.split("_")[0], qkv_bias)
    assert checkpoint.warnings == ()


def test_preprocessing_from_its_configuration(tmp_path: Path) -> None:
    checkpoint = describe_checkpoint(write_pyth(tmp_path / "a.pyth", their_model(**WIDE)), ExportConfig())
    assert checkpoint.preprocessing == Preprocessing(
        frames=4, stride=16, resize_short_side=24, crop=(24, 24), mean=(0.4, 0.45, 0.5), std=(0.2, 0.225, 0.25),
        sampling="spread", resizer="torch",
    )  # fmt: skip
    assert set(checkpoint.unused) == {"epoch (14)", "optimizer_state (dict of 2)"}


@pytest.mark.parametrize("cfg", ["", "DATA:\n  MEAN: [a]\n  STD: []\n", "DATA:\n  STD: [0.0, 1]\n", "junk: [\n" * 99])
def test_without_one_it_is_the_originals(tmp_path: Path, cfg: str) -> None:
    checkpoint = describe_checkpoint(write_pyth(tmp_path / "a.pyth", their_model(**WIDE), cfg=cfg), ExportConfig())
    how = checkpoint.preprocessing
    assert (how.mean, how.std, how.stride) == ((0.45,) * 3, (0.225,) * 3, 64)


@pytest.mark.parametrize("cfg", ["DATA:\n  STD: [0.0, 1, 1]\n", "DATA:\n  MEAN: [0, 999999999, 0]\n"])
def test_statistics_that_normalise_no_pixel(tmp_path: Path, cfg: str) -> None:
    with pytest.raises(UsageError, match=r"a\.pyth: DATA: (std|mean): expected numbers from .* for pixels in 0\.\.1"):
        describe_checkpoint(write_pyth(tmp_path / "a.pyth", their_model(**WIDE), cfg=cfg), ExportConfig())


def test_space_only_says_its_frames_in_its_configuration_or_not_at_all(tmp_path: Path) -> None:
    theirs = their_model(attention_type="space_only", **WIDE)
    described = describe_checkpoint(write_pyth(tmp_path / "a.pyth", theirs), SAID)
    assert (described.model.attn_type, described.model.frames, described.warnings) == ("space", 4, ())
    silent = write_pyth(tmp_path / "b.pyth", theirs, cfg="")
    assert describe_checkpoint(silent, SAID.replaced(frames=3)).model.frames == 3
    guessed = describe_checkpoint(silent, SAID)
    assert guessed.model.frames == 8
    assert "does not say for how many frames" in guessed.warnings[0]


@pytest.mark.parametrize("asked", [{"heads": 2}, {"dim_head": 16}])
def test_narrow_heads_have_to_be_said(tmp_path: Path, asked: dict[str, Any]) -> None:
    theirs = their_model()
    path = write_pyth(tmp_path / "a.pyth", theirs)
    with pytest.raises(UsageError, match="give --heads"):
        describe_checkpoint(path, ExportConfig())
    ours, _ = load_checkpoint(path, ExportConfig(checkpoint=path, **asked))
    clip = noise(4, 24, 24)
    with torch.no_grad():
        assert relative(ours.double()(clip), theirs.double()(clip).logits) <= 1e-10


@pytest.mark.parametrize("prefix", ["", "module.", "module.model."])
@pytest.mark.parametrize("group", ["model_state", "state_dict", "model", ""])
def test_wrappers_of_the_names(tmp_path: Path, prefix: str, group: str) -> None:
    theirs = their_model(**WIDE)
    tensors = {prefix + name: tensor for name, tensor in original_names(theirs).items()}
    torch.save({group: tensors} if group else tensors, tmp_path / "a.pth")
    ours, _ = load_checkpoint(tmp_path / "a.pth", ExportConfig())
    assert torch.equal(ours.head.weight, theirs.classifier.weight)


def test_what_is_no_timesformer_is_said(tmp_path: Path) -> None:
    tensors = original_names(their_model(**WIDE))
    del tensors["pos_embed"]
    torch.save({"model_state": tensors}, tmp_path / "a.pyth")
    with pytest.raises(UsageError, match="expected pos_embed with 3 axes, got none"):
        describe_checkpoint(tmp_path / "a.pyth", ExportConfig())
    torch.save({"model_state": {"weight": torch.ones(2)}}, tmp_path / "b.pyth")
    with pytest.raises(UsageError, match="got tensors named weight"):
        describe_checkpoint(tmp_path / "b.pyth", ExportConfig())
