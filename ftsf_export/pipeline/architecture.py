"""The architecture of a model that exists already takes the place of the model fields of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsf_export.config import ExportConfig, Size
from ftsf_export.errors import UsageError

if TYPE_CHECKING:
    from fast_timesformer.config import TimeSformerConfig
    from fast_timesformer.model import FastTimeSformer

# Field of ExportConfig -> field of TimeSformerConfig.
_FIELDS = {
    "attn": "attn_mechanism",
    "attn_type": "attn_type",
    "frames": "frames",
    "channels": "channels",
    "patch_size": "patch_size",
    "dim": "dim",
    "depth": "depth",
    "heads": "heads",
    "dim_head": "dim_head",
    "num_classes": "num_classes",
    "rotary": "rotary_emb",
}


def config_of_model(config: ExportConfig, model: FastTimeSformer) -> ExportConfig:
    """``config`` with the architecture of ``model``. Raises UsageError for another kind of module."""
    own = getattr(model, "config", None)
    if own is None or any(not hasattr(own, name) for name in (*_FIELDS.values(), "height", "width", "frames_first")):
        raise UsageError(f"model: expected a FastTimeSformer with its configuration, got {type(model).__name__}")
    if not own.frames_first:
        raise UsageError("model: expected clips of (B, F, C, H, W), got frames_first=False; make it with True")
    return config_of(config, own).replaced(checkpoint=None)


def config_of(config: ExportConfig, architecture: TimeSformerConfig) -> ExportConfig:
    """``config`` with the fields of ``architecture``."""
    fields = {ours: getattr(architecture, theirs) for ours, theirs in _FIELDS.items()}
    return config.replaced(**fields, size=Size(architecture.height, architecture.width))
