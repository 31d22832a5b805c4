"""How long the queries and keys of a model's FAVOR+ attentions are, and how far its estimate is from softmax there.

The estimate's relative variance grows as exp(|q' + k'|^2) with x' = x / K^(1/4) (Choromanski et al. 2020, lemma 2): a
long query costs what no affordable number of features buys back.

Letters: B samples, H heads, N tokens, K head width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from fast_timesformer.attention import PerformerAttention


@dataclass(frozen=True)
class FavorError:
    """One attention, or the worst of several, over all clips, heads and tokens."""

    name: str  #: Of the attention in the model, as in "blocks.0.spatial.attn".
    median_query: float  #: |q'|, the median.
    largest_query: float  #: |q'|, the largest.
    median_key: float  #: |k'|, the median.
    largest_key: float  #: |k'|, the largest.
    error: float  #: Relative L2 distance of its output from softmax attention of the same queries, keys and values.


@dataclass
class _Seen:
    norms: tuple[list[Tensor], list[Tensor]] = field(default_factory=lambda: ([], []))
    apart: float = 0.0
    size: float = 0.0


@torch.no_grad()
def favor_errors(model: nn.Module, clips: Iterable[Tensor]) -> tuple[FavorError, ...]:
    """One for each attention that estimates softmax, in the model's order; none of a model without. ``clips``: what the
    model takes, one call each. The mode of ``model`` is put back. Raises ValueError for no clip."""
    attentions = {
        name: each
        for name, each in model.named_modules()
        if isinstance(each, PerformerAttention) and each.kernel == "softmax"
    }
    if not attentions:
        return ()
    seen = {name: _Seen() for name in attentions}
    training, asked = model.training, 0
    model.eval()
    try:
        for name, attention in attentions.items():
            # Beside the class's own: what is mixed are queries and keys after their rotation, which no hook is given.
            attention.mix = _watched(attention, seen[name])  # type: ignore[method-assign]
        for clip in clips:
            model(clip)
            asked += 1
    finally:
        for attention in attentions.values():
            attention.__dict__.pop("mix", None)
        model.train(training)
    if not asked:
        raise ValueError("expected at least one clip, got none")
    return tuple(_found(name, one) for name, one in seen.items())


def _watched(attention: PerformerAttention, seen: _Seen):  # type: ignore[no-untyped-def]
    own = attention.mix

    def mix(q_BHNK: Tensor, k_BHNK: Tensor, v_BHNK: Tensor) -> Tensor:
        for kept, x_BHNK in zip(seen.norms, (q_BHNK, k_BHNK), strict=True):
            kept.append((x_BHNK.float().norm(dim=-1) * attention.scale**0.5).flatten().cpu())
        estimate = own(q_BHNK, k_BHNK, v_BHNK)
        exact = functional.scaled_dot_product_attention(q_BHNK, k_BHNK, v_BHNK, scale=attention.scale)
        seen.apart += float((estimate - exact).double().square().sum())
        seen.size += float(exact.double().square().sum())
        return estimate

    return mix


def _found(name: str, seen: _Seen) -> FavorError:
    (median_q, largest_q), (median_k, largest_k) = (
        (float(every.median()), float(every.max())) for every in map(torch.cat, seen.norms)
    )
    # Values of zero are mixed to zero by both.
    error = (seen.apart / seen.size) ** 0.5 if seen.size else 0.0
    return FavorError(name, median_q, largest_q, median_k, largest_k, error)
