"""Additive attention (Wu et al. 2021, Fastformer, section 3.1). Linear in N.

Letters: B samples, N tokens, H heads, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fast_timesformer.attention.base import Attention
from fast_timesformer.initial import parameter


class FastAttention(Attention):
    """Additive attention. ``FastAttention(dim=64)(x_BND)``; each argument means what it does in ``Attention``.

    For each head, with q and k turned: alpha = softmax_n(w_q . q_n / sqrt K); Q = sum_n alpha_n q_n; p_n = Q * k_n;
    beta = softmax_n(w_k . p_n / sqrt K); G = sum_n beta_n p_n; u_n = G * v_n. The output is W_o u + q, with q before
    the rotation and its heads side by side, so that heads * dim_head must be dim (ValueError otherwise). ``qk_scale``
    takes the place of 1 / sqrt K. ``attn_drop`` drops elements of alpha and beta, ``proj_drop`` elements of W_o u.
    """

    def __init__(
        self,
        dim: int,
        dim_head: int = 64,
        proj_drop: float = 0.0,
        qkv_bias: bool = False,
        qk_scale: float | None = None,
        *,
        attn_drop: float = 0.0,
        heads: int | None = None,
    ) -> None:
        super().__init__(dim, dim_head, qkv_bias, qk_scale, attn_drop, proj_drop, heads=heads)
        if self.heads * dim_head != dim:
            raise ValueError(
                f"heads: queries are added to the output, so heads * dim_head must be dim {dim}, "
                f"got {self.heads} * {dim_head}"
            )
        self.w_q = parameter(self.heads, dim_head)
        self.w_k = parameter(self.heads, dim_head)

    def mix(self, q_BHNK: Tensor, k_BHNK: Tensor, v_BHNK: Tensor) -> Tensor:
        query_BHK = self._pool(q_BHNK, self.w_q)
        # Q is the same for all tokens, so w_k . (Q * k_n) = (w_k * Q) . k_n, and sum_n beta_n (Q * k_n) =
        # Q * sum_n beta_n k_n: p, as large as the keys, is never made.
        key_BHK = query_BHK * self._pool(k_BHNK, self.w_k * query_BHK)
        return torch.mul(key_BHK[:, :, None], v_BHNK)

    def finish(self, out_BND: Tensor, q_BHNK: Tensor) -> Tensor:
        return torch.add(out_BND, q_BHNK.transpose(1, 2).flatten(2))

    def _pool(self, x_BHNK: Tensor, weight: Tensor) -> Tensor:
        """sum_n softmax_n(weight . x_n / sqrt K) x_n, with a weight (H, K) or (B, H, K), to (B, H, K)."""
        logits_BHN = (x_BHNK @ weight[..., None]).squeeze(-1) * self.scale
        shares_BHN = self.attn_drop(torch.softmax(logits_BHN, dim=-1))
        return torch.matmul(shares_BHN[:, :, None], x_BHNK).squeeze(-2)


FastformerAttention = FastAttention
"""The name of ``FastAttention`` in the code of FastTimeSformer 0.2.2."""
