"""Keeps the queries and keys of FAVOR+ where its random features tell them apart.

A feature is at most exp(-|x'|^2 / 2), plus eps: the stabiliser takes the rest. Where |x'|^2 / 2 passes -ln eps = 9.2
every feature of the token is eps: its attention is uniform, no gradient reaches its query or key, and it stays so.
Adam's first steps from random weights go there (on the motion set, |x'|^2 is 13 to 35 after one epoch at a rate of
2e-3, with more than nine features in ten at eps), and weights that were trained with softmax attention begin there
(5 to 17). Well before that the estimate is noise: its relative variance grows as exp(|q' + k'|^2) (Choromanski et al.
2020, lemma 2).

Letters: B samples, N tokens, H heads, K head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fast_timesformer.attention import PerformerAttention


@dataclass(frozen=True)
class Projected:
    """What one attention made of its tokens."""

    attention: PerformerAttention  #: The attention.
    qkv: Tensor  #: Queries, keys and values, (B, N, 3 H K).

    def excess(self, limit: float) -> Tensor:
        """Mean over queries and keys of what |x'|^2 = |x|^2 / sqrt K has above it. The rotation changes no norm."""
        heads = self.attention.heads
        q_and_k = torch.unflatten(self.qkv.float(), -1, (3, heads, -1)).permute(2, 0, 3, 1, 4)[:2]
        return torch.relu(q_and_k.square().sum(dim=-1) * self.attention.dim_head**-0.5 - limit).mean()


def favor_loss(projected: Sequence[Projected], limit: float) -> Tensor:
    """Mean excess over ``limit`` of the attentions; raises ValueError for none."""
    if not projected:
        raise ValueError("expected the projections of at least one FAVOR+ attention, got none")
    return torch.stack([each.excess(limit) for each in projected]).mean()


def has_favor(model: nn.Module) -> bool:
    """Whether a softmax kernel is estimated anywhere in it; the ReLU kernel has no exponential to sink."""
    return bool(_attentions(model))


@contextmanager
def projections(model: nn.Module) -> Iterator[list[Projected]]:
    """Collects what every FAVOR+ attention projects, while it lasts.

    Nothing is computed here: where blocks are computed anew in the backward pass, both passes have to keep the same.
    """
    seen: list[Projected] = []
    attentions = {attention.to_qkv: attention for attention in _attentions(model)}
    with listening(attentions, lambda layer, output: seen.append(Projected(attentions[layer], output))):
        yield seen


@contextmanager
def listening(modules: Iterable[nn.Module], keep: Callable[[Any, Tensor], None]) -> Iterator[None]:
    """Gives ``keep`` each of the modules and its output whenever it has run, while it lasts."""
    handles = [module.register_forward_hook(lambda layer, _inputs, out: keep(layer, out)) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attentions(model: nn.Module) -> list[PerformerAttention]:
    return [each for each in model.modules() if isinstance(each, PerformerAttention) and each.kernel == "softmax"]
