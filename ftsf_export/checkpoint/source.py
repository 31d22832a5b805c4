"""Where the model comes from: a checkpoint, or random weights drawn from a seed."""

from __future__ import annotations

import torch

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.model import FastTimeSformer
from ftsf_export.checkpoint import Checkpoint, load_checkpoint, model_from_checkpoint
from ftsf_export.config import ExportConfig


def load_model(config: ExportConfig, checkpoint: Checkpoint | None = None) -> FastTimeSformer:
    """The model that was asked for, float32, in evaluation mode. The global random state is left as it was.

    ``checkpoint``: what is known already of ``config.checkpoint``. Raises UsageError for one that does not read, or
    whose tensors are not exactly the model's; EnvironmentLacks where the hub would have to be asked and is not there.
    """
    if checkpoint is not None:
        return model_from_checkpoint(checkpoint, seed=config.seed)
    if config.checkpoint is not None:
        return load_checkpoint(config.checkpoint, config)[0]
    return random_model(config.architecture, config.seed)


def random_model(architecture: TimeSformerConfig, seed: int) -> FastTimeSformer:
    """Weights drawn from ``seed``, float32, in evaluation mode. The global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FastTimeSformer.from_config(architecture).float().eval()
