"""Additive attention (Wu et al. 2021) that never writes a turned query or key.

With y_n = R_n x_n the turned vectors and J the quarter turn, R_n x = cos_n x + sin_n J x and J does not depend on n:

    w . y_n            = (R_n^T w) . x_n                                     the weight is turned, not the token
    sum_n a_n R_n x_n  = sum_n (a_n cos_n) x_n + J sum_n (a_n sin_n) x_n     J acts on the pooled vector

and with Q the pooled query, w_k . (Q * k_n) = (w_k * Q) . k_n and sum_n b_n (Q * k_n) = Q * sum_n b_n k_n.
Products with one column are written as multiply and sum: as matrix products in half precision they crash a compiler.
"""

from __future__ import annotations

from torch import Tensor, nn

from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.forms.island import SoftmaxOverTokens
from ftsf_export.graph.forms.rotation import RotaryTables, quarter_turn


class AdditivePool(nn.Module):
    """sum_n softmax_n(w . R_n x_n) R_n x_n: tokens (B, F, T, H, K) -> (B, F or 1, T or 1, H, K).

    Args:
        grid: which axis is pooled.
        tables: of the tokens along that axis, or None: R_n is the identity.
    """

    def __init__(self, grid: Grid, tables: RotaryTables | None) -> None:
        super().__init__()
        self.axis = grid.axis
        self.softmax = SoftmaxOverTokens(grid.axis)
        self.turns = tables is not None
        if tables is not None:
            self.cos, self.sin = tables.beside_heads(leading=grid.along == "time")

    def turned_back(self, weight: Tensor) -> Tensor:
        """R_n^T w of every token n, for a weight (..., H, K)."""
        return weight * self.cos - quarter_turn(weight) * self.sin if self.turns else weight

    def forward(self, x: Tensor, turned_weight: Tensor) -> Tensor:
        """``turned_weight``, R_n^T w, broadcasts to (B, F, T, H, K) and carries the softmax scale."""
        shares = self.softmax((x * turned_weight).sum(dim=-1, keepdim=True))
        if not self.turns:
            return (shares * x).sum(dim=self.axis, keepdim=True)
        shared = shares * x
        still = (shared * self.cos).sum(dim=self.axis, keepdim=True)
        return still + quarter_turn((shared * self.sin).sum(dim=self.axis, keepdim=True))


class AdditiveCore(nn.Module):
    """u_n = G * v_n on (B, F, T, H, K), G the pooled key.

    Args:
        w_q, w_k: (H, K), with the softmax scale folded in. The queries' is turned back for every token once, here; the
            keys' depends on the pooled query.
    """

    def __init__(self, grid: Grid, w_q: Tensor, w_k: Tensor, tables: RotaryTables | None) -> None:
        super().__init__()
        self.pool_q = AdditivePool(grid, tables)
        self.pool_k = AdditivePool(grid, tables)
        self.w_q = nn.Parameter(self.pool_q.turned_back(w_q.detach()).clone(), requires_grad=False)
        self.w_k = nn.Parameter(w_k.detach().clone(), requires_grad=False)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        query = self.pool_q(q, self.w_q)
        key = query * self.pool_k(k, self.pool_k.turned_back(self.w_k * query))
        return key * v
