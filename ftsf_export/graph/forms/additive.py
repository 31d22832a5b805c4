"""Additive attention (Wu et al. 2021) as two attentions with one query each.

With y_n = R_n x_n the turned tokens, the pooled query is softmax_n(w_q . y_n) y_n summed over n: softmax attention
with the one query w_q, whose keys and values are both y. With Q the pooled query, w_k . (Q * k_n) = (w_k * Q) . k_n
and sum_n b_n (Q * k_n) = Q * sum_n b_n k_n, so that the keys are pooled by the query w_k * Q in the same way.
Compilers make one kernel of each, rotation included, that reads the tokens once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.forms.island import SoftmaxOverTokens
from ftsf_export.graph.forms.rotation import NeighbourRotation, RotaryTables


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
        w_q, w_k: (H, K), with the softmax scale folded in.
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
