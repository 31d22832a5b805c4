"""Additive attention (Wu et al. 2021) as two attentions with one query each.

With y_n = R_n x_n the turned tokens, the pooled query is softmax_n(w_q . y_n) y_n summed over n: softmax attention
with the one query w_q, whose keys and values are both y. With Q the pooled query, w_k . (Q * k_n) = (w_k * Q) . k_n
and sum_n b_n (Q * k_n) = Q * sum_n b_n k_n, so that the keys are pooled by the query w_k * Q in the same way.
Compilers make one kernel of each, rotation included, that reads the tokens once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fast_timesformer.attention import FastAttention
from ftsf_export.graph.forms.attention import AttentionParts
from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.forms.island import SoftmaxOverTokens
from ftsf_export.graph.forms.rotation import NeighbourRotation, RotaryTables
from ftsf_export.graph.rewrite import qkv_apart, temporal_fc


class AdditivePool(nn.Module):
    """sum_n softmax_n(w . y_n) y_n: tokens (B, G, H, N, K) -> (B, G, H, 1, K).

    Args:
        tables: of the N tokens, or None: no rotation.
        as_attention: products of matrices; otherwise multiply and sum, which says the same.
    """

    def __init__(self, tables: RotaryTables | None, *, as_attention: bool) -> None:
        super().__init__()
        self.rotation = None if tables is None else NeighbourRotation(tables)
        self.as_attention = as_attention
        self.softmax = SoftmaxOverTokens(-1 if as_attention else -2)

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """``weight`` broadcasts to (B, G, H, 1, K) and carries the softmax scale."""
        y = x if self.rotation is None else self.rotation(x)
        if self.as_attention:
            return torch.matmul(self.softmax(torch.matmul(weight, y.transpose(-1, -2))), y)
        shares: Tensor = self.softmax((y * weight).sum(dim=-1, keepdim=True))
        return (shares * y).sum(dim=-2, keepdim=True)


class AdditiveCore(nn.Module):
    """u_n = G * v_n, G the pooled key. Queries and keys (B, G, H, N, K), values in place (B, F, T, H, K), and so is u.

    Args:
        grid: which tokens attend to each other.
        w_q: (H, K), with the softmax scale folded in: the weight that pools the queries.
        w_k: the same for the keys.
        tables: of the attending tokens, or None: no rotation.
        as_attention: of both pools, see ``AdditivePool``.
    """

    def __init__(
        self, grid: Grid, w_q: Tensor, w_k: Tensor, tables: RotaryTables | None, *, as_attention: bool
    ) -> None:
        super().__init__()
        self.grid = grid
        self.w_q = nn.Parameter(w_q.detach()[:, None].clone(), requires_grad=False)
        self.w_k = nn.Parameter(w_k.detach()[:, None].clone(), requires_grad=False)
        self.pool_q = AdditivePool(tables, as_attention=as_attention)
        self.pool_k = AdditivePool(tables, as_attention=as_attention)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, is_class: Tensor | None = None) -> Tensor:
        """``is_class``, of the values' shape but for ones: tokens whose pooled key is the mean over the groups."""
        query = self.pool_q(q, self.w_q)
        key = self.grid.heads_in_place(query * self.pool_k(k, self.w_k * query))
        if is_class is None:
            return key * v
        # The keys are selected, not their products with the values: of those each side would read the values.
        mean = key.mean(dim=2 if self.grid.along == "time" else 1, keepdim=True)
        return torch.where(is_class, mean, key) * v


def additive_core(parts: AttentionParts) -> AdditiveCore:
    """What lies between the products."""
    attention, choices = parts.attention, parts.choices
    assert isinstance(attention, FastAttention)
    w_q, w_k = attention.w_q * attention.scale, attention.w_k * attention.scale
    return AdditiveCore(choices.grid, w_q, w_k, parts.tables, as_attention=choices.pools_as_attention)


class AdditiveForm(nn.Module):
    """Every token: normed stream (B, S, D) -> (B, S, D). Tokens stay where they are; nothing is transposed.

    With the class token's mean over frames chosen, each of its copies gets what all of them get in the mean.
    """

    is_class: Tensor | None

    def __init__(self, parts: AttentionParts) -> None:
        super().__init__()
        self.grid, self.apart = parts.choices.grid, parts.choices.apart
        apart = qkv_apart.apart(parts.qkv)
        if self.apart:
            self.to_q, self.to_k, self.to_v = apart
        else:
            self.to_qkv = parts.qkv
        self.core = additive_core(parts)
        self.to_out = parts.followed(parts.projection())
        # What is added after the output projection: the queries, or their product with the map that follows.
        self.to_rest = None if parts.fc is None else temporal_fc.folded_queries(apart[0], parts.fc)
        self.frames = parts.frames if parts.choices.keys_mean else None
        self.register_buffer("is_class", parts.is_class if parts.choices.keys_mean else None)

    def forward(self, h_BSD: Tensor) -> Tensor:
        grid, inner = self.grid, self.grid.inner
        if self.apart:
            # Queries and keys are multiplied as frames, the values not: of one shape, a compiler would make one product
            # of all, and copy queries and keys out of it for the kernels that pool them.
            h_BFTD = h_BSD.reshape(-1, grid.frames, grid.tokens, h_BSD.shape[-1])
            q_BSI, k_BSI = (to(h_BFTD).reshape(-1, grid.frames * grid.tokens, inner) for to in (self.to_q, self.to_k))
            v_BSI = self.to_v(h_BSD)
        else:
            q_BSI, k_BSI, v_BSI = torch.split(self.to_qkv(h_BSD), inner, dim=-1)
        q, k = grid.heads_first_one(q_BSI), grid.heads_first_one(k_BSI)
        v = grid.in_place(v_BSI)
        is_class = None
        if self.frames is not None and self.is_class is not None:
            is_class = self.frames.in_place(self.is_class)
        u_BSI = self.core(q, k, v, is_class).reshape(-1, grid.frames * grid.tokens, inner)
        rest: Tensor = q_BSI if self.to_rest is None else self.to_rest(h_BSD)
        out: Tensor = self.to_out(u_BSI) + rest
        return out


class AdditiveClassForm(nn.Module):
    """The class token alone: every query and key is pooled, one value is multiplied. (B, S, D) -> (B, 1 or F, D)."""

    def __init__(self, parts: AttentionParts) -> None:
        super().__init__()
        self.grid, self.frames_apart = parts.choices.grid, parts.frames_apart
        self.to_q, self.to_k, self.to_v = qkv_apart.apart(parts.qkv)
        self.core = additive_core(parts)
        self.to_out = parts.projection()

    def forward(self, h_BSD: Tensor) -> Tensor:
        grid = self.grid
        q_BSI = self.to_q(h_BSD)
        q, k = grid.heads_first_one(q_BSI), grid.heads_first_one(self.to_k(h_BSD))
        v = self.to_v(grid.first_rows(h_BSD)).reshape(-1, grid.groups, grid.heads, 1, grid.width)
        u = self.core(q, k, grid.heads_in_place(v)).reshape(-1, grid.groups, grid.inner)
        out: Tensor = self.to_out(u) + grid.first_rows(q_BSI)
        return out if self.frames_apart else out.mean(dim=1, keepdim=True)
