"""What was asked against what a checkpoint is: the architecture of the model that is made of it.

Frames and size may differ: learned positions are interpolated. The attention mechanism may: the rest of the weights is
kept. Anything else is another network, and refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.config import ExportConfig
from ftsf_export.errors import ConfigError

# Field of ExportConfig -> field or property of TimeSformerConfig.
_FIXED = {
    "attn_type": "attn_type",
    "channels": "channels",
    "patch_size": "patch_size",
    "dim": "dim",
    "depth": "depth",
    "heads": "num_heads",
    "dim_head": "dim_head",
    "num_classes": "num_classes",
    "rotary": "rotary_emb",
}
_PERFORMER = {"performer_features": None, "performer_kernel": "softmax", "ortho_scaling": 0}


def agreed(trained: TimeSformerConfig, config: ExportConfig, name: str) -> TimeSformerConfig:
    """The architecture that ``config`` asks for, of a checkpoint called ``name`` that was ``trained`` so.

    Raises ConfigError with every field that contradicts, both values named.
    """
    asked = {field: getattr(config, field) for field in config.given}
    problems = [
        f"{field}: {asked[field]} was asked for, the checkpoint {name} has {getattr(trained, theirs)}"
        for field, theirs in _FIXED.items()
        if asked.get(field) is not None and asked[field] != getattr(trained, theirs)
    ]
    changes: dict[str, Any] = {}
    if "frames" in asked:
        changes["frames"] = config.frames
    if "size" in asked:
        changes.update(height=config.size.height, width=config.size.width)
    if "attn" in asked and config.attn != trained.attn_mechanism:
        changes.update(attn_mechanism=config.attn, **_PERFORMER)
        if config.attn == "performer":
            changes["attn_dropout"] = 0.0
    token = not trained.rotary_emb and trained.learned_emb == "token"
    if token and any(changes.get(field, getattr(trained, field)) != getattr(trained, field) for field in _CLIP):
        problems.append(
            f"frames, size: the checkpoint {name} has one learned position a token, for {trained.frames} frames of "
            f"{trained.height}x{trained.width}; they are not interpolated, got {config.frames} frames of {config.size}"
        )
    if problems:
        raise ConfigError(problems)
    try:
        return replace(trained, **changes)
    except ValueError as error:
        raise ConfigError([f"checkpoint {name}: {error}"]) from error


_CLIP = ("frames", "height", "width")
