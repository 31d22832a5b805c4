"""The architecture of a model that exists already takes the place of the model fields of a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ftsf_export.config import ExportConfig, Size
from ftsf_export.errors import ConfigError, EnvironmentLacks, UsageError

if TYPE_CHECKING:
    from fast_timesformer.model import FastTimeSformer

INSTALL = "pip install 'ftsf-export[export]'"
# fast_timesformer.weights.METADATA_KEY, written here too so that reading it needs no torch; a test holds them equal.
METADATA_KEY = "fast_timesformer"
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
    return config.replaced(**_architecture(asdict(own), "model"), checkpoint=None)


def config_of_checkpoint(config: ExportConfig) -> ExportConfig:
    """``config`` with the architecture that its checkpoint's metadata holds; as it is where there is none.

    Raises UsageError for a file that is no safetensors file, ConfigError where a field was asked for that the
    checkpoint has otherwise, EnvironmentLacks without the safetensors package.
    """
    metadata = _metadata(config)
    if METADATA_KEY not in metadata:
        return config
    try:
        found = _architecture(json.loads(metadata[METADATA_KEY])["config"], "checkpoint")
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"checkpoint: {config.checkpoint}: its model configuration does not read: {error}") from error
    asked = {name: getattr(config, name) for name in found}
    problems = [
        f"{name}: the checkpoint has {found[name]}, got {value}"
        for name, value in asked.items()
        if value != getattr(ExportConfig, name) and value != found[name]
    ]
    if problems:
        raise ConfigError(problems)
    return config.replaced(**found)


def _architecture(own: Mapping[str, Any], source: str) -> dict[str, Any]:
    if not own["frames_first"]:
        raise UsageError(f"{source}: expected clips of (B, F, C, H, W), got frames_first=False; make it with True")
    return {**{ours: own[theirs] for ours, theirs in _FIELDS.items()}, "size": Size(own["height"], own["width"])}


def _metadata(config: ExportConfig) -> Mapping[str, str]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise EnvironmentLacks("safetensors: not installed, needed to read a checkpoint", install=INSTALL) from error
    path = config.checkpoint
    try:
        with safe_open(str(path), framework="numpy") as file:
            return dict(file.metadata() or {})
    except OSError as error:
        raise UsageError(f"checkpoint: {path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise UsageError(f"checkpoint: {path}: not a readable safetensors file: {error}") from error
