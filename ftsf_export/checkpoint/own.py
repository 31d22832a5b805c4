"""Files of ours: safetensors with the configuration in the metadata, or tensors under our names alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fast_timesformer import weights
from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import (
    BGR,
    MEAN_BOUNDS,
    OPENCV,
    PILLOW,
    RGB,
    SEGMENTS,
    SPREAD,
    STD_BOUNDS,
    STRIDE,
    TORCH,
    UNIFORM,
)
from ftsf_export.checkpoint.found import FILTERS, MOST, OURS, Found, check_bounds
from ftsf_export.checkpoint.names import own_origins
from ftsf_export.checkpoint.settings import Settings
from ftsf_export.checkpoint.tensors import TensorFile
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError

_MARK = "patch_embed.weight"
_CHOICES = {
    "sampling": (STRIDE, SEGMENTS, SPREAD, UNIFORM), "color_order": (RGB, BGR), "resizer": (PILLOW, TORCH, OPENCV),
}  # fmt: skip
_MEND_OF_BARE = (
    "; a state dict has no architecture: give the model's --attn, --attn-type, --frames, --size, --dim, --depth, "
    "--heads and --num-classes, or write the file with fast_timesformer.save_model, which keeps them"
)


def is_described(tensors: TensorFile) -> bool:
    """Whether the file says what model it is."""
    return weights.METADATA_KEY in tensors.metadata


def is_bare(tensors: TensorFile) -> bool:
    """Our names, and no word about the model."""
    return _MARK in tensors.shapes


def open_file(tensors: TensorFile, config: ExportConfig) -> Found:
    """The checkpoint that ``tensors`` are; without a description it is the model that ``config`` describes.

    Raises UsageError for a configuration that is wrong or asks for too much.
    """
    said = _described(tensors) if is_described(tensors) else weights.Description(_asked(config))
    model = said.config
    check_bounds(model, tensors.path)
    if not model.frames_first:
        raise UsageError(
            f"checkpoint: {tensors.path}: expected a model of clips (B, F, C, H, W), got frames_first=False; save it "
            "with frames_first=True: the weights are the same"
        )
    return Found(
        kind=OURS,
        name=tensors.path.name,
        tensors=tensors,
        model=model,
        origins=own_origins(model),
        labels=said.labels,
        assumed=() if is_described(tensors) else _assumed(config),
        preprocessing=_preprocessing(said.preprocessing, model, tensors),
        mend="" if is_described(tensors) else _MEND_OF_BARE,
    )


def _described(tensors: TensorFile) -> weights.Description:
    try:
        return weights.description_from_metadata(tensors.metadata, tensors.path)
    except weights.WeightsError as error:
        raise UsageError(f"checkpoint: {error}") from error


def _preprocessing(said: Mapping[str, Any] | None, model: TimeSformerConfig, tensors: TensorFile) -> Preprocessing:
    default = Preprocessing.of_timesformer(model)
    if said is None:
        return default
    settings = Settings(dict(said), f"{tensors.path}, preprocessing")
    mean = settings.numbers("mean", (0.0,) * model.channels, bounds=MEAN_BOUNDS, count=model.channels)
    std = settings.numbers("std", (1.0,) * model.channels, bounds=STD_BOUNDS, count=model.channels)
    side, resized = max(default.crop), said.get("resize_short_side", 0) is not None
    known: dict[str, Any] = {
        "resize_short_side": settings.whole("resize_short_side", side, most=MOST["height"]) if resized else None,
        "resample": settings.choice("resample", default.resample, tuple(FILTERS.values())),
        "stride": settings.whole("stride", default.stride, most=MOST["frames"]),
        **{name: settings.choice(name, getattr(default, name), allowed) for name, allowed in _CHOICES.items()},
    }
    settings.finish()
    return replace(default, mean=mean, std=std, **known)


def _assumed(config: ExportConfig) -> tuple[str, ...]:
    """What nobody said of a file without a description, and no tensor's shape tells."""
    told = config.given | ({"heads"} if "dim_head" in config.given else set())
    return tuple(name for name in ("heads", "norm_eps", *(("frames",) if config.rotary else ())) if name not in told)


def _asked(config: ExportConfig) -> TimeSformerConfig:
    try:
        return config.architecture
    except ValueError as error:
        raise UsageError(
            f"checkpoint: {config.checkpoint}: it has no configuration of its own, and: {error}"
        ) from error
