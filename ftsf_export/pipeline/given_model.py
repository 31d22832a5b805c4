"""The request for a model that the caller gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError

if TYPE_CHECKING:
    from fast_timesformer.model import FastTimeSformer


def config_of_model(config: ExportConfig, model: FastTimeSformer) -> ExportConfig:
    """``config`` with the architecture of ``model``. Raises UsageError for another kind of module."""
    own = getattr(model, "config", None)
    if not isinstance(own, TimeSformerConfig):
        raise UsageError(f"model: expected a FastTimeSformer with its configuration, got {type(model).__name__}")
    if not own.frames_first:
        raise UsageError("model: expected clips of (B, F, C, H, W), got frames_first=False; make it with True")
    return config.with_architecture(own).replaced(checkpoint=None)
