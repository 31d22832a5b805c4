"""Where the model comes from: a checkpoint, or random weights drawn from a seed."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from fast_timesformer import weights
from fast_timesformer.model import FastTimeSformer
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError


def load_model(config: ExportConfig) -> FastTimeSformer:
    """The model that was asked for, float32, in evaluation mode. The global random state is left as it was.

    Raises UsageError for a checkpoint that does not read, or whose tensors are not exactly the model's.
    """
    model = _random_model(config) if config.checkpoint is None else _model_of_checkpoint(config, config.checkpoint)
    return model.float().eval()


def _model_of_checkpoint(config: ExportConfig, path: Path) -> FastTimeSformer:
    """The architecture is the file's own where it has one (``fast_timesformer.weights``), else the configuration's."""
    try:
        with safe_open(str(path), framework="pt") as file:
            described = weights.METADATA_KEY in (file.metadata() or {})
        if described:
            return weights.load_model(path)
        model = _random_model(config)
        weights.load_weights(model, path)
        return model
    except weights.WeightsError as error:
        raise UsageError(f"checkpoint: {error}") from error
    except (SafetensorError, OSError) as error:
        raise UsageError(f"checkpoint: {path}: cannot be read: {error}") from error


def _random_model(config: ExportConfig) -> FastTimeSformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return FastTimeSformer(
            config.frames,
            config.channels,
            config.size.height,
            config.size.width,
            config.num_classes,
            dim=config.dim,
            patch_size=config.patch_size,
            depth=config.depth,
            heads=config.heads,
            dim_head=config.dim_head,
            rotary_emb=config.rotary,
            attn_mechanism=config.attn,
            attn_type=config.attn_type,
        )
