"""Where the model comes from: random weights drawn from a seed, so far."""

from __future__ import annotations

import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.config import ExportConfig


def load_model(config: ExportConfig) -> FastTimeSformer:
    """The model that was asked for, float32, in evaluation mode. The global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = FastTimeSformer(
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
    return model.float().eval()
