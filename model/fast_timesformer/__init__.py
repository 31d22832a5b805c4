"""FastTimeSformer: a video classifier with divided, joint or spatial attention and three attention mechanisms.

PyTorch only, trainable, and it knows nothing of any export. Importing this package imports no torch:
``TimeSformerConfig`` is plain data, everything else is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fast_timesformer.config import TimeSformerConfig

if TYPE_CHECKING:
    from fast_timesformer.attention import FastAttention, PerformerAttention, RegularAttention
    from fast_timesformer.model import FastTimeSformer
    from fast_timesformer.weights import WeightsError, load_model, load_weights, save_model

__all__ = [
    "FastAttention",
    "FastTimeSformer",
    "PerformerAttention",
    "RegularAttention",
    "TimeSformerConfig",
    "WeightsError",
    "load_model",
    "load_weights",
    "save_model",
]

_HOME = {
    **dict.fromkeys(("FastAttention", "PerformerAttention", "RegularAttention"), "fast_timesformer.attention"),
    **dict.fromkeys(("WeightsError", "load_model", "load_weights", "save_model"), "fast_timesformer.weights"),
    "FastTimeSformer": "fast_timesformer.model",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
