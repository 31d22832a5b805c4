"""Where each of our tensors lies in a checkpoint of somebody else, and how it is turned into ours.

The same weights under four names. Ours and the original's put the tokens' width last in both; what differs in shape:
- patch embedding: a convolution (D, C, row, column) there, a linear map (D, row * column * C) here, whose patch vector
  is ordered (row, column, channel);
- class token (1, 1, D) and positions (1, n, D) there carry axes of length one in front.

Letters: D width of a token, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.model import FastTimeSformer

Shape = tuple[int, ...]

HEAD = "classifier"  # Hugging Face's name of the head.


@dataclass(frozen=True)
class _Names:
    """What somebody calls the parts of the network."""

    #: Our part of a block -> theirs. ``whole`` is attention over all tokens of a frame or of a clip.
    in_block: Mapping[str, str]
    outside: Mapping[str, str]  #: Our part outside the blocks -> theirs; "blocks" is what stands before a number.


_HUGGING_FACE = _Names(
    {
        "temporal.norm": "temporal_layernorm",
        "temporal.attn.to_qkv": "temporal_attention.attention.qkv",
        "temporal.attn.to_out": "temporal_attention.output.dense",
        "temporal.fc": "temporal_dense",
        "whole.norm": "layernorm_before",
        "whole.attn.to_qkv": "attention.attention.qkv",
        "whole.attn.to_out": "attention.output.dense",
        "mlp.norm": "layernorm_after",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    },
    {
        "blocks": "timesformer.encoder.layer",
        "patch_embed": "timesformer.embeddings.patch_embeddings.projection",
        "cls_token": "timesformer.embeddings.cls_token",
        "pos_space": "timesformer.embeddings.position_embeddings",
        "pos_time": "timesformer.embeddings.time_embeddings",
        "norm": "timesformer.layernorm",
        "head": HEAD,
    },
)
_FACEBOOK = _Names(
    {
        "temporal.norm": "temporal_norm1",
        "temporal.attn.to_qkv": "temporal_attn.qkv",
        "temporal.attn.to_out": "temporal_attn.proj",
        "temporal.fc": "temporal_fc",
        "whole.norm": "norm1",
        "whole.attn.to_qkv": "attn.qkv",
        "whole.attn.to_out": "attn.proj",
        "mlp.norm": "norm2",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    },
    {
        "blocks": "blocks",
        "patch_embed": "patch_embed.proj",
        "cls_token": "cls_token",
        "pos_space": "pos_embed",
        "pos_time": "time_embed",
        "norm": "norm",
        "head": "head",
    },
)
# PyTorch's MultiheadAttention joins its name and "weight" with a stroke.
_IN_PROJ = "attn.in_proj"
_MMACTION_OUTSIDE = {
    "blocks": "backbone.transformer_layers.layers",
    "patch_embed": "backbone.patch_embed.projection",
    "cls_token": "backbone.cls_token",
    "pos_space": "backbone.pos_embed",
    "pos_time": "backbone.time_embed",
    "norm": "backbone.norm",
    "head": "cls_head.fc_cls",
}
_MMACTION_MLP = {"mlp.fc1": "ffns.0.layers.0.0", "mlp.fc2": "ffns.0.layers.1"}
_MMACTION_DIVIDED = _Names(
    {
        "temporal.norm": "attentions.0.norm",
        "temporal.attn.to_qkv": f"attentions.0.{_IN_PROJ}",
        "temporal.attn.to_out": "attentions.0.attn.out_proj",
        "temporal.fc": "attentions.0.temporal_fc",
        "whole.norm": "attentions.1.norm",
        "whole.attn.to_qkv": f"attentions.1.{_IN_PROJ}",
        "whole.attn.to_out": "attentions.1.attn.out_proj",
        "mlp.norm": "ffns.0.norm",
        **_MMACTION_MLP,
    },
    _MMACTION_OUTSIDE,
)
_MMACTION_WHOLE = _Names(
    {
        "whole.norm": "norms.0",
        "whole.attn.to_qkv": f"attentions.0.{_IN_PROJ}",
        "whole.attn.to_out": "attentions.0.attn.out_proj",
        "mlp.norm": "norms.1",
        **_MMACTION_MLP,
    },
    _MMACTION_OUTSIDE,
)


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


def mmaction_origins(model: TimeSformerConfig) -> dict[str, Origin]:
    """Our name -> where mmaction2's recognizer with a ``TimeSformer`` and a ``TimeSformerHead`` keeps it."""
    whose = _MMACTION_DIVIDED if model.attn_type == "divided" else _MMACTION_WHOLE
    return {name: _origin(name, shape, model, whose) for name, shape in shapes_of(model).items()}


def own_origins(model: TimeSformerConfig) -> dict[str, Origin]:
    """Each of our tensors under its own name."""
    return {name: Origin(name, shape, _as_it_is) for name, shape in shapes_of(model).items()}


def shapes_of(model: TimeSformerConfig) -> dict[str, Shape]:
    """Name -> shape of every weight and saved buffer of an architecture; none of them is made."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        made = FastTimeSformer.from_config(model)
    return {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}


def _origin(name: str, shape: Shape, model: TimeSformerConfig, whose: _Names) -> Origin:
    if name in ("cls_token", "pos_space", "pos_time"):
        lead = (1,) * (3 - len(shape))
        return Origin(whose.outside[name], (*lead, *shape), lambda theirs: theirs.reshape(shape))
    module, kind = name.rsplit(".", 1)
    if module == "patch_embed" and kind == "weight":
        convolution = (model.dim, model.channels, model.patch_size, model.patch_size)
        return Origin(f"{whose.outside[module]}.{kind}", convolution, linear_from_convolution)
    if module in whose.outside:
        return Origin(f"{whose.outside[module]}.{kind}", shape, _as_it_is)
    blocks, index, part = module.split(".", 2)
    part = part.replace("spatial.", "whole.").replace("joint.", "whole.")
    theirs = f"{whose.outside[blocks]}.{index}.{whose.in_block[part]}.{kind}"
    return Origin(theirs.replace(f"{_IN_PROJ}.", f"{_IN_PROJ}_"), shape, _as_it_is)


def linear_from_convolution(weight: Tensor) -> Tensor:
    """(D, C, row, column) -> (D, row * column * C)."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _as_it_is(theirs: Tensor) -> Tensor:
    return theirs
