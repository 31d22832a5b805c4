"""Where each of our tensors lies in a checkpoint of somebody else, and how it is turned into ours.

The same weights under three names. Ours and the original's put the tokens' width last in both; what differs in shape:
- patch embedding: a convolution (D, C, row, column) there, a linear map (D, row * column * C) here, whose patch vector
  is ordered (row, column, channel);
- class token (1, 1, D) and positions (1, n, D) there carry axes of length one in front.

Letters: D width of a token, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.model import FastTimeSformer

Shape = tuple[int, ...]

# Our part of a block -> Hugging Face's, the original's. ``whole`` is attention over all tokens of a frame or of a clip.
_IN_BLOCK = {
    "temporal.norm": ("temporal_layernorm", "temporal_norm1"),
    "temporal.attn.to_qkv": ("temporal_attention.attention.qkv", "temporal_attn.qkv"),
    "temporal.attn.to_out": ("temporal_attention.output.dense", "temporal_attn.proj"),
    "temporal.fc": ("temporal_dense", "temporal_fc"),
    "whole.norm": ("layernorm_before", "norm1"),
    "whole.attn.to_qkv": ("attention.attention.qkv", "attn.qkv"),
    "whole.attn.to_out": ("attention.output.dense", "attn.proj"),
    "mlp.norm": ("layernorm_after", "norm2"),
    "mlp.fc1": ("intermediate.dense", "mlp.fc1"),
    "mlp.fc2": ("output.dense", "mlp.fc2"),
}
HEAD = "classifier"  # Hugging Face's name of the head.
_OUTSIDE = {
    "blocks": ("timesformer.encoder.layer", "blocks"),
    "patch_embed": ("timesformer.embeddings.patch_embeddings.projection", "patch_embed.proj"),
    "cls_token": ("timesformer.embeddings.cls_token", "cls_token"),
    "pos_space": ("timesformer.embeddings.position_embeddings", "pos_embed"),
    "pos_time": ("timesformer.embeddings.time_embeddings", "time_embed"),
    "norm": ("timesformer.layernorm", "norm"),
    "head": (HEAD, "head"),
}
_HUGGING_FACE, _FACEBOOK = 0, 1


@dataclass(frozen=True)
class Origin:
    """One of our tensors in a checkpoint."""

    name: str  #: What the checkpoint calls it.
    shape: Shape  #: Its shape there.
    convert: Callable[[Tensor], Tensor]  #: Makes ours of it.


def huggingface_origins(model: TimeSformerConfig, *, bare: bool = False) -> dict[str, Origin]:
    """Our name -> where ``TimesformerForVideoClassification`` keeps it; ``bare``: where ``TimesformerModel`` does."""
    each = {name: _origin(name, shape, model, _HUGGING_FACE) for name, shape in shapes_of(model).items()}
    prefix = "timesformer." if bare else ""
    return {name: replace(origin, name=origin.name.removeprefix(prefix)) for name, origin in each.items()}


def facebook_origins(model: TimeSformerConfig) -> dict[str, Origin]:
    """Our name -> where facebookresearch/TimeSformer's ``VisionTransformer`` keeps it."""
    return {name: _origin(name, shape, model, _FACEBOOK) for name, shape in shapes_of(model).items()}


def own_origins(model: TimeSformerConfig) -> dict[str, Origin]:
    """Each of our tensors under its own name."""
    return {name: Origin(name, shape, _as_it_is) for name, shape in shapes_of(model).items()}


def shapes_of(model: TimeSformerConfig) -> dict[str, Shape]:
    """Name -> shape of every weight and saved buffer of an architecture; none of them is made."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        made = FastTimeSformer.from_config(model)
    return {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}


def _origin(name: str, shape: Shape, model: TimeSformerConfig, whose: int) -> Origin:
    """``whose``: the column of the tables."""
    if name in ("cls_token", "pos_space", "pos_time"):
        lead = (1,) * (3 - len(shape))
        return Origin(_OUTSIDE[name][whose], (*lead, *shape), lambda theirs: theirs.reshape(shape))
    module, kind = name.rsplit(".", 1)
    if module == "patch_embed" and kind == "weight":
        convolution = (model.dim, model.channels, model.patch_size, model.patch_size)
        return Origin(f"{_OUTSIDE[module][whose]}.{kind}", convolution, linear_from_convolution)
    if module in _OUTSIDE:
        return Origin(f"{_OUTSIDE[module][whose]}.{kind}", shape, _as_it_is)
    blocks, index, part = module.split(".", 2)
    part = part.replace("spatial.", "whole.").replace("joint.", "whole.")
    return Origin(f"{_OUTSIDE[blocks][whose]}.{index}.{_IN_BLOCK[part][whose]}.{kind}", shape, _as_it_is)


def linear_from_convolution(weight: Tensor) -> Tensor:
    """(D, C, row, column) -> (D, row * column * C)."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _as_it_is(theirs: Tensor) -> Tensor:
    return theirs
