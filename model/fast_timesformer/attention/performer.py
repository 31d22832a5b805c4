"""FAVOR+ (Choromanski et al. 2020, Rethinking Attention with Performers). Linear in N.

Letters: B samples, N tokens, H heads, K head width, M random features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fast_timesformer.attention.base import Attention
from fast_timesformer.config import PERFORMER_KERNELS, TimeSformerConfig, default_features

# Floors under the features, so that no token is without weight: the values of the paper's published code.
EPSILON = {"softmax": 1e-4, "relu": 1e-3}


class PerformerAttention(Attention):
    """Attention by positive orthogonal random features. ``PerformerAttention(dim=64)(x_BND)``.

    With x' = x / K^(1/4): phi(x) = M^(-1/2) (exp(omega x' - |x'|^2 / 2 - s) + eps), where s is, for a query, its
    maximum of omega x' over the features; for keys the maximum over features and tokens of that head and that
    sample, never over the batch. The output is phi(q) (phi(k)^T v) / (phi(q) sum_n phi(k_n)), then the output
    projection. ``kernel="relu"`` takes phi(x) = M^(-1/2) (max(omega x', 0) + eps).

    Args:
        features: M; None means ``int(K ln K)``.
        kernel: ``softmax`` or ``relu``.
        ortho_scaling: 0: norms of omega's rows are chi-distributed with K degrees, as those of a Gaussian vector
            (unbiased); 1: they are sqrt K.
        generator: where omega is drawn from; None: torch's global generator.

    ``omega`` (M, K) is a persistent buffer: it is saved with the weights, because they were trained with it. There are
    no attention weights, hence no ``attn_dropout``. Raises ValueError naming the wrong argument.
    """

    omega: Tensor

    def __init__(
        self,
        dim: int,
        heads: int | None = None,
        dim_head: int = 64,
        *,
        qkv_bias: bool = False,
        proj_dropout: float = 0.0,
        features: int | None = None,
        kernel: str = "softmax",
        ortho_scaling: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(dim, heads, dim_head, qkv_bias=qkv_bias, proj_dropout=proj_dropout)
        if kernel not in PERFORMER_KERNELS:
            raise ValueError(f"kernel: expected one of {', '.join(PERFORMER_KERNELS)}, got {kernel!r}")
        self.features = default_features(dim_head) if features is None else features
        self.kernel = kernel
        self.eps = EPSILON[kernel]
        self.ortho_scaling = ortho_scaling
        omega = draw_omega(self.features, dim_head, ortho_scaling=ortho_scaling, generator=generator)
        self.register_buffer("omega", omega.to(torch.get_default_dtype()))

    @classmethod
    def own_options(cls, config: TimeSformerConfig) -> dict[str, Any]:
        scaling = config.ortho_scaling
        return {"features": config.num_features, "kernel": config.performer_kernel, "ortho_scaling": scaling}

    @torch.no_grad()
    def redraw_projection_(self, generator: torch.Generator | None = None) -> None:
        """Draw omega anew, in place.

        For training: the same features over many steps let the network fit their error (section 4 of the paper). Call
        it every few hundred steps or so on each ``PerformerAttention`` among ``model.modules()``; never afterwards.
        """
        omega = draw_omega(self.features, self.dim_head, ortho_scaling=self.ortho_scaling, generator=generator)
        self.omega.copy_(omega)

    def mix(self, q_BHNK: Tensor, k_BHNK: Tensor, v_BHNK: Tensor) -> Tensor:
        phi_q, phi_k = self.feature_map(q_BHNK, over=(-1,)), self.feature_map(k_BHNK, over=(-1, -2))
        tokens, features, width = phi_k.shape[-2], phi_k.shape[-1], v_BHNK.shape[-1]
        # The same value in either order; with few tokens the N x N weights are the smaller product.
        if tokens * (features + width) < 2 * features * width:
            weights_BHNN = phi_q @ phi_k.mT
            mixed, total = weights_BHNN @ v_BHNK, weights_BHNN.sum(dim=-1, keepdim=True)
        else:
            mixed, total = phi_q @ (phi_k.mT @ v_BHNK), phi_q @ phi_k.sum(dim=-2)[..., None]
        return torch.div(mixed, total)

    def feature_map(self, x_BHNK: Tensor, over: tuple[int, ...]) -> Tensor:
        """phi, (B, H, N, M); the stabiliser is the maximum over the dimensions ``over`` of (B, H, N, M).

        The stabiliser cancels in the attention but for eps, so no gradient goes through it.
        """
        x_BHNK = x_BHNK * self.dim_head**-0.25
        projected = x_BHNK @ self.omega.to(x_BHNK.dtype).mT
        if self.kernel == "relu":
            features = torch.relu(projected)
        else:
            half_square = x_BHNK.square().sum(dim=-1, keepdim=True) / 2
            stabiliser = projected.detach().amax(dim=over, keepdim=True)
            # Both terms go before the exponential, which then is at most 1.
            features = torch.exp(projected - half_square - stabiliser)
        return torch.mul(features + self.eps, self.features**-0.5)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, features={self.features}, kernel={self.kernel}"


def draw_omega(
    features: int, dim_head: int, *, ortho_scaling: int = 0, generator: torch.Generator | None = None
) -> Tensor:
    """Gaussian rows (M, K), float64, orthogonal within each block of K (section 3.3 of the paper).

    Each row alone has the distribution of a Gaussian vector (with ``ortho_scaling=0``), which is what makes the
    estimate unbiased. Raises ValueError naming the wrong argument.
    """
    if features < 1 or dim_head < 1:
        raise ValueError(f"features: expected features and dim_head of at least 1, got {features} and {dim_head}")
    if ortho_scaling not in (0, 1):
        raise ValueError(f"ortho_scaling: expected 0 or 1, got {ortho_scaling!r}")
    blocks = -(-features // dim_head)
    gauss = torch.randn(blocks, dim_head, dim_head, dtype=torch.float64, generator=generator)
    q, r = torch.linalg.qr(gauss)
    # QR fixes the signs of q by convention: the first column would always point into one half space. With the signs
    # of r's diagonal, q is uniform on the orthogonal group (Mezzadri 2007).
    q = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]
    directions = q.mT.reshape(blocks * dim_head, dim_head)[:features]
    if ortho_scaling == 1:
        return torch.mul(directions, dim_head**0.5)
    norms = torch.randn(features, dim_head, dtype=torch.float64, generator=generator).norm(dim=-1, keepdim=True)
    return torch.mul(directions, norms)
