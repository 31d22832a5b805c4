"""A ``.pyth`` file of facebookresearch/TimeSformer: no configuration of the network, so its shapes say what it is.

``model_state`` holds the tensors, every name with "model." in front. Beside it lie the optimizer's state, which is not
used, and where the training code wrote it ``cfg``, the text of its YAML configuration.

What no shape tells is how many heads there are and the epsilon of LayerNorm. They are, in this order, what the file's
settings say, what the user says, or what every published file has. Else they are assumed, which is said wherever the
weights are.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import SPREAD, TORCH
from ftsf_export.checkpoint.dataset import names_something
from ftsf_export.checkpoint.found import Found, check_bounds
from ftsf_export.checkpoint.names import facebook_origins
from ftsf_export.checkpoint.shapes import (
    BASE,
    BASE_EPS,
    BASE_HEADS,
    Layout,
    Untold,
    architecture_of,
    asked_heads,
    network_of,
)
from ftsf_export.checkpoint.stated import Stated
from ftsf_export.checkpoint.tensors import TensorFile
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError

KIND = "facebookresearch/TimeSformer"
LAYOUT = Layout(
    kind=KIND,
    patch="patch_embed.proj.weight",
    positions="pos_embed",
    times="time_embed",
    block=r"blocks\.(\d{1,4})\.",
    hidden="blocks.0.mlp.fc1.weight",
    qkv_bias="blocks.0.attn.qkv.bias",
    temporal="blocks.0.temporal_attn.qkv.weight",
    head="head",
)
HEAD_WIDTH = 64
# Settings that say how many heads there are, and what LayerNorm adds to a variance; in a section of the network.
_HEADS = ("NUM_HEADS", "N_HEADS", "NUM_ATTENTION_HEADS")
_NORM_EPS = ("NORM_EPS", "LAYER_NORM_EPS", "LAYERNORM_EPS")
# The class of the published network (``vit.py``), as the settings name it.
_BASE_NAME = "vit_base_patch16_224"
# Of a bare ``VisionTransformer``: PyTorch's own.
_BARE_EPS = 1e-5


def is_facebook(tensors: TensorFile) -> bool:
    """Whether the names of its tensors are the original's."""
    return LAYOUT.patch in tensors.shapes


def open_file(tensors: TensorFile, config: ExportConfig) -> Found:
    """The checkpoint that ``tensors`` are. ``config`` is asked for what the file does not say: heads, epsilon, and for
    space-only attention the frames.

    Raises UsageError where the shapes are not those of a TimeSformer.
    """
    stated = tensors.stated
    untold = _untold(tensors, config)
    model, warnings = architecture_of(tensors, LAYOUT, untold, config)
    check_bounds(model, tensors.path)
    return Found(
        kind=KIND,
        name=tensors.path.name,
        tensors=tensors,
        model=model,
        origins=facebook_origins(model),
        set_aside=tensors.set_aside,
        preprocessing=_preprocessing(model, stated, tensors.path),
        dataset=_dataset(stated),
        assumed=untold.assumed,
        warnings=warnings,
    )


def _untold(tensors: TensorFile, config: ExportConfig) -> Untold:
    stated, network = tensors.stated, network_of(tensors, LAYOUT)
    dim, assumed = network[0], []
    by_name = stated.text("MODEL.MODEL_NAME") == _BASE_NAME and dim == BASE[0]
    published = by_name or network == BASE
    heads = stated.whole(*_HEADS) or (BASE_HEADS if by_name else None) or asked_heads(config, dim)
    if heads is None:
        heads = BASE_HEADS if published else dim // HEAD_WIDTH
        assumed += [] if published else ["heads"]
    eps = stated.number(*_NORM_EPS) or (BASE_EPS if by_name else None)
    if eps is None and "norm_eps" in config.given:
        eps = config.norm_eps
    if eps is None:
        # The original's classes for training keep the network under the name "model" and give it their own epsilon.
        eps = BASE_EPS if published or tensors.prefix.endswith("model.") else _BARE_EPS
        assumed += [] if published else ["norm_eps"]
    frames = config.frames if "frames" in config.given else stated.whole("DATA.NUM_FRAMES")
    return Untold(heads, eps, frames, tuple(assumed))


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
