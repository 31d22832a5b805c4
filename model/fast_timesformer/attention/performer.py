"""FAVOR+ (Choromanski et al. 2020, Rethinking Attention with Performers). Linear in N.

Letters: B samples, N tokens, H heads, K head width, M random features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fast_timesformer.attention.base import Attention
from fast_timesformer.config import PERFORMER_KERNELS, TimeSformerConfig, default_features

# Floors under the features, so that no token is without weight: the values of the paper's published code.
EPSILON = {"softmax": 1e-4, "relu": 1e-3}


class PerformerAttention(Attention):
    """Attention by positive orthogonal random features. ``PerformerAttention(dim=64)(x_BND)``.

    With x' = x / K^(1/4), or x sqrt(qk_scale): phi(x) = M^(-1/2) (exp(omega x' - |x'|^2 / 2 - s) + eps), where s is,
    for a query, its maximum of omega x' over the features; for keys the maximum over features and tokens of that head
    and that sample, never over the batch. The output is phi(q) (phi(k)^T v) / (phi(q) sum_n phi(k_n)), then the output
    projection. ``kernel_fn="relu"`` takes phi(x) = M^(-1/2) (max(omega x', 0) + eps). ``attn_drop`` drops the values of
    tokens, each for all queries of a head: there are no weights of pairs that could be dropped.

    Args:
        nb_features: M; None means ``int(K ln K)``.
        kernel_fn: ``softmax``, ``relu``, or ReLU itself: ``nn.ReLU()``, ``torch.relu`` or ``functional.relu``.
        ortho_scaling: 0: norms of omega's rows are chi-distributed with K degrees, as those of a Gaussian vector
            (unbiased); 1: they are sqrt K.
        generator: where omega is drawn from; None: torch's global generator.

    ``omega`` (M, K) is a persistent buffer: it is saved with the weights, because they were trained with it. Raises
    ValueError naming the wrong argument.
    """

    omega: Tensor

    def __init__(
        self,
        dim: int,
        dim_head: int = 64,
        nb_features: int | None = None,
        ortho_scaling: int = 0,
        kernel_fn: str | Callable[[Tensor], Tensor] = "softmax",
        qkv_bias: bool = False,
        *,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        heads: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(dim, dim_head, qkv_bias, qk_scale, attn_drop, proj_drop, heads=heads)
        self.features = default_features(dim_head) if nb_features is None else nb_features
        self.kernel = _kernel(kernel_fn)
        self.eps = EPSILON[self.kernel]
        self.ortho_scaling = ortho_scaling
        omega = draw_omega(self.features, dim_head, ortho_scaling=ortho_scaling, generator=generator)
        self.register_buffer("omega", omega.to(torch.get_default_dtype()))

    @classmethod
    def own_options(cls, config: TimeSformerConfig) -> dict[str, Any]:
        scaling = config.ortho_scaling
        return {"nb_features": config.num_features, "kernel_fn": config.performer_kernel, "ortho_scaling": scaling}

    @torch.no_grad()
    def redraw_projection_(self, generator: torch.Generator | None = None) -> None:
        """Draw omega anew, in place.

        For training: the same features over many steps let the network fit their error (section 4 of the paper). Call
        it every few hundred steps or so on each ``PerformerAttention`` among ``model.modules()``; never afterwards.
        """
        omega = draw_omega(self.features, self.dim_head, ortho_scaling=self.ortho_scaling, generator=generator)
        self.omega.copy_(omega)

    def redraw_projection_matrix(self, device: object = None) -> None:
        """``redraw_projection_`` by its name in FastTimeSformer 0.2.2; omega stays on its device, whatever is given."""
        del device
        self.redraw_projection_()

    def mix(self, q_BHNK: Tensor, k_BHNK: Tensor, v_BHNK: Tensor) -> Tensor:
        phi_q, phi_k = self.feature_map(q_BHNK, over=(-1,)), self.feature_map(k_BHNK, over=(-1, -2))
        if self.training and self.attn_drop.p:
            v_BHNK = v_BHNK * self.attn_drop(torch.ones_like(v_BHNK[..., :1]))
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
        x_BHNK = x_BHNK * self.scale**0.5
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


def _kernel(kernel_fn: object) -> str:
    """The name of the kernel. Raises ValueError for a function that is none."""
    if isinstance(kernel_fn, nn.ReLU) or kernel_fn in (nn.ReLU, torch.relu, functional.relu):
        return "relu"
    if kernel_fn not in PERFORMER_KERNELS:
        raise ValueError(
            f"kernel_fn: expected one of {', '.join(PERFORMER_KERNELS)}, or nn.ReLU() for the second, got {kernel_fn!r}"
        )
    return str(kernel_fn)


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
