"""The architecture that a configuration asks for."""

from __future__ import annotations

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.config import ExportConfig


def architecture_from_config(config: ExportConfig) -> TimeSformerConfig:
    """The model's own configuration. Raises ValueError where the model has no such architecture."""
    return TimeSformerConfig(
        frames=config.frames,
        channels=config.channels,
        height=config.size.height,
        width=config.size.width,
        num_classes=config.num_classes,
        dim=config.dim,
        patch_size=config.patch_size,
        depth=config.depth,
        heads=config.heads,
        dim_head=config.dim_head,
        rotary_emb=config.rotary,
        attn_mechanism=config.attn,
        attn_type=config.attn_type,
    )
