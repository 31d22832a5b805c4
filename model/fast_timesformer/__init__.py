"""FastTimeSformer: a video classifier with divided, joint or spatial attention and three attention mechanisms.

PyTorch only, trainable, and it knows nothing of any export. Importing this package imports no torch:
``TimeSformerConfig`` is plain data, everything else is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.lazy import lazy_names

if TYPE_CHECKING:
    from fast_timesformer.attention import FastAttention, FastformerAttention, PerformerAttention, RegularAttention
    from fast_timesformer.blocks import TimeSformerBlock
    from fast_timesformer.model import FastTimeSformer
    from fast_timesformer.weights import WeightsError, load_model, load_weights, save_model

__all__ = [
    "FastAttention",
    "FastTimeSformer",
    "FastformerAttention",
    "PerformerAttention",
    "RegularAttention",
    "TimeSformerBlock",
    "TimeSformerConfig",
    "WeightsError",
    "load_model",
    "load_weights",
    "save_model",
]

_HOME = {
    **dict.fromkeys(
        ("FastAttention", "FastformerAttention", "PerformerAttention", "RegularAttention"), "fast_timesformer.attention"
    ),
    "TimeSformerBlock": "fast_timesformer.blocks",
    **dict.fromkeys(("WeightsError", "load_model", "load_weights", "save_model"), "fast_timesformer.weights"),
    "FastTimeSformer": "fast_timesformer.model",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME, __all__)
