"""Rotary positions with static tables. A pair is two neighbours (2i, 2i + 1), as in the model, or elements of the two
halves (i, i + K/2) where the weights have been permuted (``graph.rewrite.rotation_halves``)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def quarter_turn(x: Tensor, *, halves: bool) -> Tensor:
    """J x: every pair (a, b) -> (-b, a). A rotation by t is cos t x + sin t J x."""
    width = x.shape[-1]
    if halves:
        return torch.cat((-x[..., width // 2 :], x[..., : width // 2]), dim=-1)
    pairs = x.reshape(*x.shape[:-1], width // 2, 2)
    return torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).reshape(x.shape)


class Rotation(nn.Module):
    """x (..., N, K) -> the same, token n turned by its angles.

    Args:
        cos, sin: tables (N, K), pairs as ``halves`` says; both members of a pair hold one value.
        halves: whether pairs are (i, i + K/2).
    """

    def __init__(self, cos: Tensor, sin: Tensor, *, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.cos = nn.Parameter(cos.detach().clone(), requires_grad=False)
        self.sin = nn.Parameter(sin.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.halves:
            return x * self.cos + quarter_turn(x, halves=False) * self.sin
        half = x.shape[-1] // 2
        a, b, cos, sin = x[..., :half], x[..., half:], self.cos[..., :half], self.sin[..., :half]
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def tables_with_prefix(tables: tuple[Tensor, Tensor], prefix: int) -> tuple[Tensor, Tensor]:
    """(cos, sin), each (n, K) -> (prefix + n, K): the first tokens (the class token) are not turned."""
    cos, sin = tables
    still = cos.new_ones(prefix, cos.shape[-1])
    return torch.cat((still, cos)), torch.cat((torch.zeros_like(still), sin))
