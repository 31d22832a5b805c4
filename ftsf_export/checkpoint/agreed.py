"""What was asked against what a checkpoint is: the architecture of the model that is made of it.

Frames and size may differ: learned positions are interpolated. The attention mechanism may: the rest of the weights is
kept. Anything else is another network, and refused.
"""

from __future__ import annotations

from dataclasses import replace

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.config import ExportConfig
from ftsf_export.errors import ConfigError

_MAY_DIFFER = ("frames", "size", "attn")


def agreed(trained: TimeSformerConfig, config: ExportConfig, name: str) -> TimeSformerConfig:
    """The architecture that ``config`` asks for, of a checkpoint called ``name`` that was ``trained`` so.

    Raises ConfigError with every field that contradicts, both values named.
    """
    others = config.disagreements(trained)
    problems = [
        f"{field}: {asked} was asked for, the checkpoint {name} has {theirs}"
        for field, (asked, theirs) in others.items()
        if field not in _MAY_DIFFER
    ]
    frames, _ = others.get("frames", (trained.frames, None))
    height, width = (config.size.height, config.size.width) if "size" in others else (trained.height, trained.width)
    if not trained.rotary_emb and trained.learned_emb == "token" and {"frames", "size"} & set(others):
        problems.append(
            f"frames, size: the checkpoint {name} has one learned position a token, for {trained.frames} frames of "
            f"{trained.height}x{trained.width}; they are not interpolated, got {config.frames} frames of {config.size}"
        )
    if problems:
        raise ConfigError(problems)
    swapped = trained.with_mechanism(config.attn) if "attn" in others else trained
    try:
        return replace(swapped, frames=frames, height=height, width=width)
    except ValueError as error:
        raise ConfigError([f"checkpoint {name}: {error}"]) from error
