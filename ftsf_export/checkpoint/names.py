"""Where each of our tensors lies in a checkpoint of somebody else, and how it is turned into ours.

The same weights under three names. Ours and the original's put the tokens' width last in both; what differs in shape:
- patch embedding: a convolution (D, C, row, column) there, a linear map (D, row * column * C) here, whose patch vector
  is ordered (row, column, channel);
- class token (1, 1, D) and positions (1, n, D) there carry axes of length one in front.

Letters: D width of a token, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from fast_timesformer.config import TimeSformerConfig

Shape = tuple[int, ...]

# Our part of a block -> theirs. ``whole`` is the attention over all of a frame's or a clip's tokens.
_HUGGING_FACE_BLOCK = {
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
}
_HUGGING_FACE = {
    "patch_embed": "timesformer.embeddings.patch_embeddings.projection",
    "cls_token": "timesformer.embeddings.cls_token",
    "pos_space": "timesformer.embeddings.position_embeddings",
    "pos_time": "timesformer.embeddings.time_embeddings",
    "norm": "timesformer.layernorm",
    "head": "classifier",
}
_FACEBOOK_BLOCK = {
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
}
_FACEBOOK = {
    "patch_embed": "patch_embed.proj",
    "cls_token": "cls_token",
    "pos_space": "pos_embed",
    "pos_time": "time_embed",
    "norm": "norm",
    "head": "head",
}


@dataclass(frozen=True)
class Origin:
    """One of our tensors in a checkpoint.

    Attributes:
        name: what the checkpoint calls it.
        shape: its shape there.
        convert: makes ours of it.
    """

    name: str
    shape: Shape
    convert: Callable[[Tensor], Tensor]


def huggingface_origins(config: TimeSformerConfig, shapes: Mapping[str, Shape]) -> dict[str, Origin]:
    """Our name -> where ``TimesformerForVideoClassification`` keeps it. ``shapes``: ours, by name."""
    return {
        name: _origin(name, shape, config, _HUGGING_FACE, _HUGGING_FACE_BLOCK, "timesformer.encoder.layer")
        for name, shape in shapes.items()
    }


def facebook_origins(config: TimeSformerConfig, shapes: Mapping[str, Shape]) -> dict[str, Origin]:
    """Our name -> where facebookresearch/TimeSformer's ``VisionTransformer`` keeps it. ``shapes``: ours, by name."""
    return {name: _origin(name, shape, config, _FACEBOOK, _FACEBOOK_BLOCK, "blocks") for name, shape in shapes.items()}


def own_origins(shapes: Mapping[str, Shape]) -> dict[str, Origin]:
    """Ours under our own names."""
    return {name: Origin(name, shape, _as_it_is) for name, shape in shapes.items()}


def _origin(
    name: str,
    shape: Shape,
    config: TimeSformerConfig,
    outside: Mapping[str, str],
    inside: Mapping[str, str],
    blocks: str,
) -> Origin:
    if name in ("cls_token", "pos_space", "pos_time"):
        lead = (1,) * (3 - len(shape))
        return Origin(outside[name], (*lead, *shape), lambda theirs: theirs.reshape(shape))
    if name == "patch_embed.weight":
        theirs_shape = (config.dim, config.channels, config.patch_size, config.patch_size)
        return Origin(f"{outside['patch_embed']}.weight", theirs_shape, linear_from_convolution)
    module, kind = name.rsplit(".", 1)
    if module in outside:
        return Origin(f"{outside[module]}.{kind}", shape, _as_it_is)
    _, index, part = module.split(".", 2)
    for whole in ("spatial.", "joint."):
        part = part.replace(whole, "whole.")
    return Origin(f"{blocks}.{index}.{inside[part]}.{kind}", shape, _as_it_is)


def linear_from_convolution(weight: Tensor) -> Tensor:
    """(D, C, row, column) -> (D, row * column * C)."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _as_it_is(theirs: Tensor) -> Tensor:
    return theirs
