"""A ``.pyth`` file of facebookresearch/TimeSformer: no configuration of the network, so its shapes say what it is.

``model_state`` holds the tensors, every name with "model." in front. Beside it lie the optimizer's state, which is not
used, and where the training code wrote it ``cfg``, the text of its YAML configuration.

What no shape tells is how many heads there are and the epsilon of LayerNorm. They are, in this order, what the file's
settings say, what the user says, or what every published file has. Else they are assumed, which is said wherever the
weights are.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import SPREAD, TORCH
from ftsf_export.checkpoint.dataset import names_something
from ftsf_export.checkpoint.found import Found, check_bounds, mlp_fields
from ftsf_export.checkpoint.huggingface import PRETRAINED
from ftsf_export.checkpoint.names import facebook_origins
from ftsf_export.checkpoint.stated import Stated
from ftsf_export.checkpoint.tensors import TensorFile
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError

KIND = "facebookresearch/TimeSformer"
HEAD_WIDTH = 64
FRAMES = 8
_MARK = "patch_embed.proj.weight"
# Settings that say how many heads there are, and what LayerNorm adds to a variance; in any section.
_HEADS = ("NUM_HEADS", "N_HEADS", "NUM_ATTENTION_HEADS")
_NORM_EPS = ("NORM_EPS", "LAYER_NORM_EPS", "LAYERNORM_EPS")
# The one network of which weights are published (``vit.py``, ``vit_base_patch16_224``, and ``TimeSformer`` after it):
# (width, depth, patch, hidden width, qkv bias), its heads, its epsilon.
_BASE_NAME, _BASE = "vit_base_patch16_224", (768, 12, 16, 3072, True)
_BASE_HEADS, _BASE_EPS = 12, 1e-6
# Of a bare ``VisionTransformer``: PyTorch's own.
_BARE_EPS = 1e-5


def is_facebook(tensors: TensorFile) -> bool:
    """Whether the names of its tensors are the original's."""
    return _MARK in tensors.shapes


def open_file(tensors: TensorFile, config: ExportConfig) -> Found:
    """The checkpoint that ``tensors`` are. ``config`` is asked for what the file does not say: heads, epsilon, and for
    space-only attention the frames.

    Raises UsageError where the shapes are not those of a TimeSformer.
    """
    stated = tensors.stated
    untold = _untold(tensors, config)
    model, warnings = _architecture(tensors, config, untold)
    check_bounds(model, tensors.path)
    return Found(
        kind=KIND,
        name=tensors.path.name,
        tensors=tensors,
        model=model,
        origins=facebook_origins(model),
        set_aside=tuple(f"{key} ({what})" for key, what in tensors.beside.items() if "\n" not in what),
        preprocessing=_preprocessing(model, stated, tensors.path),
        dataset=_dataset(stated),
        assumed=untold.assumed,
        warnings=warnings,
    )


@dataclass(frozen=True)
class _Untold:
    """What no shape tells."""

    heads: int  #: H.
    norm_eps: float  #: Epsilon of every LayerNorm.
    assumed: tuple[str, ...]  #: Names of those fields that nobody said.


def _untold(tensors: TensorFile, config: ExportConfig) -> _Untold:
    stated, dim = tensors.stated, _shape(tensors, _MARK, 4)[0]
    assumed = []
    by_name = stated.text("MODEL.MODEL_NAME") == _BASE_NAME and dim == _BASE[0]
    published = by_name or _network(tensors) == _BASE
    heads = stated.whole(*_HEADS) or (_BASE_HEADS if by_name else None) or _asked_heads(config, dim)
    if heads is None:
        heads = _BASE_HEADS if published else dim // HEAD_WIDTH
        assumed += [] if published else ["heads"]
    if heads < 1 or dim % heads:
        raise UsageError(f"heads: expected a divisor of the checkpoint's width {dim}, got {heads}; give --heads")
    eps = stated.number(*_NORM_EPS) or (_BASE_EPS if by_name else None)
    if eps is None and "norm_eps" in config.given:
        eps = config.norm_eps
    if eps is None:
        # The original's classes for training keep the network under the name "model" and give it their own epsilon.
        eps = _BASE_EPS if published or tensors.prefix.endswith("model.") else _BARE_EPS
        assumed += [] if published else ["norm_eps"]
    return _Untold(heads, eps, tuple(assumed))


def _asked_heads(config: ExportConfig, dim: int) -> int | None:
    if "heads" in config.given and config.heads is not None:
        return config.heads
    return dim // config.dim_head if "dim_head" in config.given else None


def _network(tensors: TensorFile) -> tuple[int, int, int, int, bool]:
    """Width, depth, patch, hidden width, qkv bias."""
    dim, _, patch, _ = _shape(tensors, _MARK, 4)
    blocks = {int(match[1]) for name in tensors.shapes if (match := re.match(r"blocks\.(\d{1,4})\.", name))}
    hidden = _shape(tensors, "blocks.0.mlp.fc1.weight", 2)[0]
    return dim, max(blocks, default=0) + 1, patch, hidden, "blocks.0.attn.qkv.bias" in tensors.shapes


def _architecture(
    tensors: TensorFile, config: ExportConfig, untold: _Untold
) -> tuple[TimeSformerConfig, tuple[str, ...]]:
    dim, depth, patch, hidden, qkv_bias = _network(tensors)
    channels = _shape(tensors, _MARK, 4)[1]
    rows, columns = _grid(tensors, config, patch)
    warnings: tuple[str, ...] = ()
    if "time_embed" in tensors.shapes:
        frames = _shape(tensors, "time_embed", 3)[1]
        attn_type = "divided" if any(".temporal_attn." in name for name in tensors.shapes) else "joint"
    else:
        attn_type = "space"
        stated = config.frames if "frames" in config.given else tensors.stated.whole("DATA.NUM_FRAMES")
        frames = stated or FRAMES
        if not stated:
            warnings = (f"{tensors.path.name} does not say for how many frames it was trained: {FRAMES} are taken",)
    try:
        model = TimeSformerConfig(
            frames=frames,
            channels=channels,
            height=rows * patch,
            width=columns * patch,
            num_classes=_shape(tensors, "head.weight", 2)[0] if tensors.has("head.") else 0,
            dim=dim,
            patch_size=patch,
            depth=depth,
            heads=untold.heads,
            dim_head=dim // untold.heads,
            **mlp_fields(hidden, dim),
            attn_type=attn_type,
            qkv_bias=qkv_bias,
            norm_eps=untold.norm_eps,
            **PRETRAINED,
        )
    except ValueError as error:
        raise UsageError(f"checkpoint: {tensors.path}: its shapes are not those of a TimeSformer: {error}") from error
    return model, warnings


def _grid(tensors: TensorFile, config: ExportConfig, patch: int) -> tuple[int, int]:
    """Rows and columns of patches: square where the number of positions is, else those of the size that was given."""
    patches = _shape(tensors, "pos_embed", 3)[1] - 1
    side = math.isqrt(patches)
    if side * side == patches:
        return side, side
    grid = (config.size.height // patch, config.size.width // patch)
    if "size" not in config.given or grid[0] * grid[1] != patches:
        raise UsageError(
            f"checkpoint: {tensors.path}: positions of {patches} patches of {patch} px, which make no square: give the "
            f"frames that it was trained with, --size HEIGHTxWIDTH of {patches} patches"
        )
    return grid


def _shape(tensors: TensorFile, name: str, rank: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there with ``rank`` axes, none of them empty."""
    shape = tensors.shapes.get(name)
    if shape is None or len(shape) != rank or 0 in shape:
        raise UsageError(
            f"checkpoint: {tensors.path}: expected {name} with {rank} axes, got "
            f"{'none' if shape is None else shape}; it is not laid out like a file of {KIND}"
        )
    return shape


def _preprocessing(model: TimeSformerConfig, stated: Stated, path: Path) -> Preprocessing:
    """Clips are made as the original's test makes them; what its DATA section does not say is the default. Raises
    UsageError for numbers that normalise no pixel."""
    how = replace(Preprocessing.of_timesformer(model), sampling=SPREAD, resizer=TORCH)
    mean, std = stated.numbers("DATA.MEAN") or how.mean, stated.numbers("DATA.STD") or how.std
    if len(mean) == len(std) == model.channels:
        try:
            how = replace(how, mean=mean, std=std)
        except ValueError as error:
            raise UsageError(f"checkpoint: {path}: DATA: {error}") from error
    named = re.search(r"_(\d{1,4})x(\d{1,4})_", path.name)
    rate = stated.whole("DATA.SAMPLING_RATE") or (int(named[2]) if named and int(named[1]) == model.frames else None)
    return replace(how, stride=rate) if rate is not None and 1 <= rate <= 4096 else how


def _dataset(stated: Stated) -> str:
    """What the settings say of the data; any text of theirs that names Something-Something will do."""
    said = stated.text("TRAIN.DATASET")
    return said or next((text for texts in stated.values.values() for text in texts if names_something(text)), "")
