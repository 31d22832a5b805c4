"""Other video models by mistake: one sentence that names what the file is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    PretrainedConfig,
    PreTrainedModel,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VivitConfig,
    VivitForVideoClassification,
)

from ftsf_export.checkpoint import describe_checkpoint
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32}


@pytest.mark.parametrize(
    ("kind", "config", "name"),
    [
        (VideoMAEForVideoClassification, VideoMAEConfig(**SMALL, num_frames=2), "VideoMAE"),
        (VivitForVideoClassification, VivitConfig(**SMALL, num_frames=2), "ViViT"),
    ],
)
def test_of_hugging_face(tmp_path: Path, kind: type[PreTrainedModel], config: PretrainedConfig, name: str) -> None:
    model = kind(config)
    model.save_pretrained(tmp_path / "m")
    said = f"a checkpoint of {name}, which is another network than TimeSformer and is not exported"
    save_file(model.state_dict(), tmp_path / "alone.safetensors")
    base = {key.partition(".")[2]: value for key, value in model.state_dict().items()}
    torch.save({"state_dict": {f"net.{key}": value for key, value in model.state_dict().items()}}, tmp_path / "a.ckpt")
    for path in (
        tmp_path / "m",
        tmp_path / "m" / "model.safetensors",
        tmp_path / "alone.safetensors",
        tmp_path / "a.ckpt",
    ):
        with pytest.raises(UsageError) as caught:
            describe_checkpoint(path, ExportConfig())
        assert said in caught.value.message, path
        assert caught.value.message.count("\n") == 0
    torch.save(base, tmp_path / "base.bin")
    with pytest.raises(UsageError, match="embeds patches of 2 frames at once"):
        describe_checkpoint(tmp_path / "base.bin", ExportConfig())


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"patch_embed.proj.weight": (8, 3, 2, 4, 4), "blocks.0.attn.q_bias": (8,)}, "VideoMAE"),
        ({"encoder.patch_embed.proj.weight": (8, 3, 2, 4, 4), "mask_token": (1, 1, 8)}, "VideoMAE or ViViT"),
        ({"backbone.layers.0.blocks.0.attn.relative_position_bias_table": (4, 2)}, "Video Swin"),
        ({"project_in.weight": (8, 48), "blocks.0.attn_s.fn.to_qkv.weight": (24, 8)}, "FastTimeSformer 0.2.2"),
    ],
)
def test_in_other_programs_files(tmp_path: Path, names: dict[str, tuple[int, ...]], said: str) -> None:
    torch.save({"model": {name: torch.zeros(shape) for name, shape in names.items()}}, tmp_path / "a.pth")
    with pytest.raises(UsageError, match=f"a checkpoint of {said}, which is another network"):
        describe_checkpoint(tmp_path / "a.pth", ExportConfig())
