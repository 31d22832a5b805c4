"""A ``.pyth`` file of facebookresearch/TimeSformer: no configuration of the network, so its shapes say what it is.

``model_state`` holds the tensors, every name with "model." in front. Beside it lie the optimizer's state, which is not
used, and where the training code wrote it ``cfg``, the text of its YAML configuration: of that, a few lines of its DATA
section are read.

What no tensor's shape tells is the number of heads: the original's heads are 64 wide (768 / 12), unless said otherwise.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import Preprocessing
from ftsf_export.checkpoint.found import Found, check_bounds, default_preprocessing
from ftsf_export.checkpoint.huggingface import PRETRAINED
from ftsf_export.checkpoint.names import facebook_origins
from ftsf_export.checkpoint.tensors import TensorFile
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError

KIND = "facebookresearch/TimeSformer"
HEAD_WIDTH = 64
FRAMES = 8
_LONGEST_TEXT = 2**20
_MARK = "patch_embed.proj.weight"


def is_facebook(tensors: TensorFile) -> bool:
    """By the names of its tensors."""
    return _MARK in tensors.shapes


def open_file(tensors: TensorFile, config: ExportConfig) -> Found:
    """The checkpoint that ``tensors`` are. ``config`` is asked for what shapes do not tell: heads, and for space-only
    attention the frames.

    Raises UsageError where the shapes are not those of a TimeSformer.
    """
    data = _data_section(tensors.beside.get("cfg", ""))
    model, warnings = _architecture(tensors, config, data)
    check_bounds(model, tensors.path)
    return Found(
        kind=KIND,
        name=tensors.path.name,
        tensors=tensors,
        model=model,
        origins=facebook_origins(model),
        set_aside=tuple(f"{key} ({what})" for key, what in tensors.beside.items() if "\n" not in what),
        preprocessing=_preprocessing(model, data, tensors.path),
        warnings=warnings,
    )


def _architecture(
    tensors: TensorFile, config: ExportConfig, data: dict[str, list[float]]
) -> tuple[TimeSformerConfig, tuple[str, ...]]:
    dim, channels, patch, _ = _shape(tensors, _MARK, 4)
    rows = math.isqrt(_shape(tensors, "pos_embed", 3)[1] - 1)
    blocks = {int(match[1]) for name in tensors.shapes if (match := re.match(r"blocks\.(\d{1,4})\.", name))}
    warnings: tuple[str, ...] = ()
    if "time_embed" in tensors.shapes:
        frames = _shape(tensors, "time_embed", 3)[1]
        attn_type = "divided" if any(".temporal_attn." in name for name in tensors.shapes) else "joint"
    else:
        attn_type = "space"
        stated = config.frames if "frames" in config.given else int(data.get("NUM_FRAMES", [0])[0])
        frames = stated or FRAMES
        if not stated:
            warnings = (f"{tensors.path.name} does not say for how many frames it was trained: {FRAMES} are taken",)
    heads = _heads(dim, config)
    side = rows * patch
    try:
        model = TimeSformerConfig(
            frames=frames,
            channels=channels,
            height=side,
            width=side,
            num_classes=_shape(tensors, "head.weight", 2)[0],
            dim=dim,
            patch_size=patch,
            depth=max(blocks, default=0) + 1,
            heads=heads,
            dim_head=dim // heads,
            mlp_mult=max(1, _shape(tensors, "blocks.0.mlp.fc1.weight", 2)[0] // dim),
            attn_type=attn_type,
            qkv_bias="blocks.0.attn.qkv.bias" in tensors.shapes,
            norm_eps=1e-6,
            **PRETRAINED,
        )
    except ValueError as error:
        raise UsageError(f"checkpoint: {tensors.path}: its shapes are not those of a TimeSformer: {error}") from error
    return model, warnings


def _heads(dim: int, config: ExportConfig) -> int:
    if "heads" in config.given and config.heads is not None:
        heads = config.heads
    else:
        heads = dim // (config.dim_head if "dim_head" in config.given else HEAD_WIDTH)
    if heads < 1 or dim % heads:
        raise UsageError(f"heads: expected a divisor of the checkpoint's width {dim}, got {heads}; give --heads")
    return heads


def _shape(tensors: TensorFile, name: str, rank: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there with ``rank`` axes, none of them empty."""
    shape = tensors.shapes.get(name)
    if shape is None or len(shape) != rank or 0 in shape:
        raise UsageError(
            f"checkpoint: {tensors.path}: expected {name} with {rank} axes, got "
            f"{'none' if shape is None else shape}; it is not laid out like a file of {KIND}"
        )
    return shape


def _preprocessing(model: TimeSformerConfig, data: dict[str, list[float]], path: Path) -> Preprocessing:
    """As the original tests; what its DATA section does not say is the default. Raises UsageError for numbers that
    normalise no pixel."""
    how = default_preprocessing(model)
    mean, std = tuple(data.get("MEAN", how.mean)), tuple(data.get("STD", how.std))
    if len(mean) == len(std) == model.channels:
        try:
            how = replace(how, mean=mean, std=std)
        except ValueError as error:
            raise UsageError(f"checkpoint: {path}: DATA: {error}") from error
    rate = int(data.get("SAMPLING_RATE", [0])[0])
    return replace(how, stride=rate) if 1 <= rate <= 4096 else how


def _data_section(text: str) -> dict[str, list[float]]:
    """Numbers in section DATA of a YAML dump: ``KEY: 1``, ``KEY: [1, 2]``, or one a line. The rest is skipped."""
    found: dict[str, list[float]] = {}
    inside, key = False, ""
    for line in text[:_LONGEST_TEXT].splitlines():
        if not line.startswith(" "):
            inside = line.rstrip() == "DATA:"
        elif inside and (match := re.fullmatch(r"  ([A-Z_]{1,64}):(.*)", line)):
            key = match[1]
            found[key] = _numbers(match[2].strip().strip("[]"))
        elif inside and key and line.lstrip().startswith("- "):
            found[key] += _numbers(line.lstrip()[2:])
    return {key: values for key, values in found.items() if values}


def _numbers(text: str) -> list[float]:
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"-?\d{1,9}(\.\d{1,18})?", part) for part in parts):
        return []
    return [float(part) for part in parts]
