"""Small pretrained models as other people's programs write them, with random weights in which every part matters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import TimesformerConfig, TimesformerForVideoClassification

SMALL = {
    "image_size": 24, "patch_size": 8, "num_frames": 4, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 64, "num_labels": 7,
}  # fmt: skip
PROCESSOR = {
    "do_resize": True, "size": {"shortest_edge": 28}, "do_center_crop": True,
    "crop_size": {"height": 24, "width": 24}, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
    "image_mean": [0.4, 0.45, 0.5], "image_std": [0.2, 0.225, 0.25], "resample": 2,
}  # fmt: skip


def their_model(**fields: Any) -> TimesformerForVideoClassification:
    """Theirs, float32, evaluation mode. Weights wide enough that every part moves the logits."""
    config = TimesformerConfig(**{**SMALL, **fields})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = TimesformerForVideoClassification(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                spread = parameter.shape[-1] ** -0.5 if parameter.ndim == 2 else 0.3
                parameter.add_(torch.randn_like(parameter) * spread)
    return model


def their_logits(theirs: TimesformerForVideoClassification, clip: torch.Tensor) -> torch.Tensor:
    """Theirs in float64, (clips, labels).

    With ``space_only`` theirs gives logits a frame; frames are averaged before the last norm, as the original does.
    """
    theirs = theirs.double()
    with torch.no_grad():
        if theirs.config.attention_type != "space_only":
            return theirs(clip).logits
        base = theirs.timesformer
        hidden = base.encoder(base.embeddings(clip), return_dict=True).last_hidden_state
        frames = hidden[:, 0].unflatten(0, (len(clip), theirs.config.num_frames))
        return theirs.classifier(base.layernorm(frames.mean(dim=1)))


def write_huggingface(folder: Path, model: TimesformerForVideoClassification, *, weights: str = "safetensors") -> Path:
    """``config.json``, ``preprocessor_config.json`` and the tensors, as ``save_pretrained`` lays them out."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if weights == "safetensors":
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        torch.save(tensors, folder / "pytorch_model.bin")
    return folder


# Hugging Face's name -> the original's, written down from facebookresearch/TimeSformer's vit.py.
_RENAMED = (
    (r"^timesformer\.embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^timesformer\.embeddings\.position_embeddings", "pos_embed"),
    (r"^timesformer\.embeddings\.time_embeddings", "time_embed"),
    (r"^timesformer\.embeddings\.cls_token", "cls_token"),
    (r"^timesformer\.encoder\.layer", "blocks"),
    (r"^timesformer\.layernorm", "norm"),
    (r"^classifier", "head"),
    (r"\.temporal_attention\.attention\.qkv", ".temporal_attn.qkv"),
    (r"\.temporal_attention\.output\.dense", ".temporal_attn.proj"),
    (r"\.temporal_dense", ".temporal_fc"),
    (r"\.temporal_layernorm", ".temporal_norm1"),
    (r"\.attention\.attention\.qkv", ".attn.qkv"),
    (r"\.attention\.output\.dense", ".attn.proj"),
    (r"\.layernorm_before", ".norm1"),
    (r"\.layernorm_after", ".norm2"),
    (r"\.intermediate\.dense", ".mlp.fc1"),
    (r"\.output\.dense", ".mlp.fc2"),
)


def original_names(model: TimesformerForVideoClassification) -> dict[str, torch.Tensor]:
    """The tensors under the names of the original's VisionTransformer."""
    out = {}
    for name, tensor in model.state_dict().items():
        for pattern, ours in _RENAMED:
            name = re.sub(pattern, ours, name)
        out[name] = tensor
    return out


YAML = """DATA:
  CROP: x
  MEAN: [0.4, 0.45, 0.5]
  NUM_FRAMES: 4
  SAMPLING_RATE: 16
  STD:
  - 0.2
  - 0.225
  - 0.25
MODEL:
  NUM_FRAMES: 99
"""


def write_pyth(path: Path, model: TimesformerForVideoClassification, **beside: Any) -> Path:
    """A file as the original's ``save_checkpoint`` writes it."""
    state = {f"model.{name}": tensor for name, tensor in original_names(model).items()}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    torch.save({"epoch": 14, "model_state": state, "optimizer_state": optimizer, "cfg": YAML, **beside}, path)
    return path


def relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    """L2 error of ``got`` over the norm of ``expected``."""
    return float((got - expected).norm() / expected.norm())


def noise(frames: int, height: int, width: int, clips: int = 1) -> torch.Tensor:
    """Clips (clips, frames, 3, height, width), float64."""
    generator = torch.Generator().manual_seed(frames + height)
    return torch.randn(clips, frames, 3, height, width, dtype=torch.float64, generator=generator)
