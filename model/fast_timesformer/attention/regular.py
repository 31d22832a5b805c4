"""Softmax attention (Vaswani et al. 2017): softmax(q k^T / sqrt K) v. Quadratic in N."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from fast_timesformer.attention.base import Attention


class RegularAttention(Attention):
    """Softmax attention. ``RegularAttention(dim=64)(x_BND)``; the arguments are those of ``Attention``."""

    def mix(self, q_BHNK: Tensor, k_BHNK: Tensor, v_BHNK: Tensor) -> Tensor:
        dropout = self.attn_drop.p if self.training else 0.0
        # Fused: the N x N weights are never kept for the backward pass.
        return functional.scaled_dot_product_attention(q_BHNK, k_BHNK, v_BHNK, dropout_p=dropout, scale=self.scale)
