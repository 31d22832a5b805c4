"""TimeSformer by its equations, from the tensors of a file under the names of facebookresearch/TimeSformer.

Written from the paper (Bertasius et al. 2021, section 3) and from what each tensor of such a file is for. The tokens
are kept as a grid, (n, F, P, D), with the class token beside it.

Letters: n clips, F frames, P patches a frame, N tokens, D width, H heads, K head width, C channels, p side of a patch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def original_shapes(
    *,
    attn_type: str = "divided",
    dim: int = 32,
    depth: int = 2,
    frames: int = 4,
    grid: tuple[int, int] = (3, 3),
    patch: int = 8,
    hidden: int | None = None,
    classes: int = 7,
    qkv_bias: bool = True,
) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor; ``classes`` 0: no head."""
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, dim), "pos_embed": (1, 1 + grid[0] * grid[1], dim)}
    if attn_type != "space":
        shapes["time_embed"] = (1, frames, dim)

    def linear(name: str, out: int, *into: int, bias: bool = True) -> None:
        shapes.update({f"{name}.weight": (out, *into), **({f"{name}.bias": (out,)} if bias else {})})

    linear("patch_embed.proj", dim, 3, patch, patch)
    attentions = {"attn": "norm1", **({"temporal_attn": "temporal_norm1"} if attn_type == "divided" else {})}
    for block in (f"blocks.{index}" for index in range(depth)):
        for attention, norm in attentions.items():
            linear(f"{block}.{norm}", dim)
            linear(f"{block}.{attention}.qkv", 3 * dim, dim, bias=qkv_bias)
            linear(f"{block}.{attention}.proj", dim, dim)
        if attn_type == "divided":
            linear(f"{block}.temporal_fc", dim, dim)
        linear(f"{block}.norm2", dim)
        linear(f"{block}.mlp.fc1", hidden or 4 * dim, dim)
        linear(f"{block}.mlp.fc2", dim, hidden or 4 * dim)
    linear("norm", dim)
    if classes:
        linear("head", classes, dim)
    return shapes


def original_state(*, seed: int = 5, **fields: Any) -> dict[str, Tensor]:
    """Random weights of ``original_shapes``, float32, in which every part matters."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in original_shapes(**fields).items():
        values = torch.randn(shape, generator=generator)
        is_map = name.endswith(".weight") and len(shape) > 1
        spread = 1.5 * math.prod(shape[1:]) ** -0.5 if is_map else 0.3
        gain = 1.0 if name.endswith(".weight") and len(shape) == 1 else 0.0
        state[name] = gain + spread * values
    return state


def original_features(state: State, clip_nFCHW: Tensor, *, heads: int, eps: float) -> Tensor:
    """(n, D): the class token after the last norm, in the clip's type."""
    w = {name: tensor.to(clip_nFCHW.dtype) for name, tensor in state.items()}
    attend = _Attention(w, heads, eps)
    x_nFPD, rows, columns = _patches(w, clip_nFCHW)
    space_PD = _resized(w["pos_embed"][0, 1:], rows, columns)
    x_nFPD = x_nFPD + space_PD
    cls_nD = (w["cls_token"] + w["pos_embed"][:, :1])[:, 0].expand(len(x_nFPD), -1)
    blocks = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("blocks."))
    if "time_embed" not in w:
        # Frames apart to the end: each is a clip of one frame with a class token of its own.
        frames = x_nFPD.shape[1]
        single, cls = x_nFPD.flatten(0, 1)[:, None], cls_nD.repeat_interleave(frames, dim=0)
        for index in range(blocks):
            cls, single = _whole_block(w, f"blocks.{index}", attend, cls, single)
        return _norm(w, "norm", cls.unflatten(0, (-1, frames)).mean(dim=1), eps)
    x_nFPD = x_nFPD + _thinned(w["time_embed"][0], x_nFPD.shape[1])[:, None]
    divided = "blocks.0.temporal_attn.qkv.weight" in w
    for index in range(blocks):
        block = _divided_block if divided else _whole_block
        cls_nD, x_nFPD = block(w, f"blocks.{index}", attend, cls_nD, x_nFPD)
    return _norm(w, "norm", cls_nD, eps)


def original_logits(state: State, clip_nFCHW: Tensor, *, heads: int, eps: float) -> Tensor:
    """(n, classes)."""
    return _linear(
        {name: tensor.to(clip_nFCHW.dtype) for name, tensor in state.items()},
        "head",
        original_features(state, clip_nFCHW, heads=heads, eps=eps),
    )


class _Attention:
    """softmax(q k^T / sqrt K) v over the tokens of the last axis but one, with the projection behind it."""

    def __init__(self, w: State, heads: int, eps: float) -> None:
        self.w, self.heads, self.eps = w, heads, eps

    def __call__(self, block: str, norm: str, attention: str, x_ND: Tensor) -> Tensor:
        x_ND = _norm(self.w, f"{block}.{norm}", x_ND, self.eps)
        q, k, v = _linear(self.w, f"{block}.{attention}.qkv", x_ND).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        scores = torch.einsum("...nhk,...mhk->...hnm", q, k) * q.shape[-1] ** -0.5
        mixed = torch.einsum("...hnm,...mhk->...nhk", scores.softmax(dim=-1), v)
        return _linear(self.w, f"{block}.{attention}.proj", mixed.flatten(-2))


def _divided_block(w: State, block: str, attend: _Attention, cls_nD: Tensor, x_nFPD: Tensor) -> tuple[Tensor, Tensor]:
    over_time = attend(block, "temporal_norm1", "temporal_attn", x_nFPD.transpose(1, 2)).transpose(1, 2)
    x_nFPD = x_nFPD + _linear(w, f"{block}.temporal_fc", over_time)
    copies = cls_nD[:, None, None].expand(-1, x_nFPD.shape[1], -1, -1)
    over_space = attend(block, "norm1", "attn", torch.cat((copies, x_nFPD), dim=2))
    cls_nD, x_nFPD = cls_nD + over_space[:, :, 0].mean(dim=1), x_nFPD + over_space[:, :, 1:]
    return _mlp(w, block, attend.eps, cls_nD), _mlp(w, block, attend.eps, x_nFPD)


def _whole_block(w: State, block: str, attend: _Attention, cls_nD: Tensor, x_nFPD: Tensor) -> tuple[Tensor, Tensor]:
    tokens = torch.cat((cls_nD[:, None], x_nFPD.flatten(1, 2)), dim=1)
    tokens = _mlp(w, block, attend.eps, tokens + attend(block, "norm1", "attn", tokens))
    return tokens[:, 0], tokens[:, 1:].unflatten(1, x_nFPD.shape[1:3])


def _mlp(w: State, block: str, eps: float, x: Tensor) -> Tensor:
    hidden = _linear(w, f"{block}.mlp.fc1", _norm(w, f"{block}.norm2", x, eps))
    return x + _linear(w, f"{block}.mlp.fc2", 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5)))


def _patches(w: State, clip_nFCHW: Tensor) -> tuple[Tensor, int, int]:
    """(n, F, P, D), and how many rows and columns of patches; pixels that fill no patch are left out."""
    weight = w["patch_embed.proj.weight"]
    side = weight.shape[-1]
    rows, columns = clip_nFCHW.shape[-2] // side, clip_nFCHW.shape[-1] // side
    whole = clip_nFCHW[..., : rows * side, : columns * side]
    cut = whole.unflatten(-1, (columns, side)).unflatten(-3, (rows, side))
    embedded = torch.einsum("nfcriqj,dcij->nfrqd", cut, weight) + w["patch_embed.proj.bias"]
    return embedded.flatten(2, 3), rows, columns


def _resized(pos_PD: Tensor, rows: int, columns: int) -> Tensor:
    """As many positions as patches: as they are, or else the nearest of a square grid."""
    if rows * columns == len(pos_PD):
        return pos_PD
    side = round(len(pos_PD) ** 0.5)
    grid = pos_PD.unflatten(0, (side, side))
    return grid[_nearest(side, rows)][:, _nearest(side, columns)].flatten(0, 1)


def _thinned(time_FD: Tensor, frames: int) -> Tensor:
    return time_FD if frames == len(time_FD) else time_FD[_nearest(len(time_FD), frames)]


def _nearest(there: int, wanted: int) -> list[int]:
    return [place * there // wanted for place in range(wanted)]


def _norm(w: State, name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + eps).sqrt()
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def _linear(w: State, name: str, x: Tensor) -> Tensor:
    out = x @ w[f"{name}.weight"].T
    return out + w[f"{name}.bias"] if f"{name}.bias" in w else out
