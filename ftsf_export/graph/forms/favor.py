"""FAVOR+ (Choromanski et al. 2020) with a fixed projection."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ftsf_export.graph.forms.island import FeatureDenominator, FeatureExponential, Quotient, RowSum
from ftsf_export.graph.forms.rotation import Rotation


class FeatureMap(nn.Module):
    """phi without its factor M^(-1/2), which cancels: tokens (..., N, K) -> (..., N, M).

    Args:
        omega_MK: the model's projection.
        over: dimensions of the stabilising maximum: the features (queries), or features and tokens (keys).
        kernel: ``softmax`` or ``relu``.
    """

    def __init__(self, omega_MK: Tensor, eps: float, kernel: str, over: tuple[int, ...]) -> None:
        super().__init__()
        width = omega_MK.shape[-1]
        # The scale of x' = x / K^(1/4) belongs to the projection.
        self.omega = nn.Parameter((omega_MK * width**-0.25).T.contiguous(), requires_grad=False)
        self.kernel, self.eps = kernel, eps
        if kernel == "softmax":
            self.exponential = FeatureExponential(eps, width, over)

    def forward(self, x: Tensor) -> Tensor:
        projected = torch.matmul(x, self.omega)
        if self.kernel == "relu":
            return torch.relu(projected) + self.eps
        out: Tensor = self.exponential(x, projected)
        return out


class FavorCore(nn.Module):
    """phi(q) (phi(k)^T v) / (phi(q) sum_n phi(k_n)) on (B, G, H, N, K); q may have fewer tokens than k and v.

    ``quadratic`` chooses the order of the products: (phi(q) phi(k)^T) v, the same value, cheaper for few tokens. In
    the other order numerator and denominator are divided by N: sums over all keys and features would leave half
    precision's range.
    """

    def __init__(
        self, omega_MK: Tensor, eps: float, kernel: str, rotation: Rotation | None, *, quadratic: bool
    ) -> None:
        super().__init__()
        self.rotation = rotation
        self.quadratic = quadratic
        self.phi_q = FeatureMap(omega_MK, eps, kernel, over=(-1,))
        self.phi_k = FeatureMap(omega_MK, eps, kernel, over=(-1, -2))
        self.denominator = RowSum() if quadratic else FeatureDenominator()
        self.quotient = Quotient()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, query_is_class: bool = False) -> Tensor:
        if self.rotation is not None:
            q, k = (q if query_is_class else self.rotation(q)), self.rotation(k)
        phi_q, phi_k = self.phi_q(q), self.phi_k(k)
        out: Tensor
        if self.quadratic:
            weights = torch.matmul(phi_q, phi_k.transpose(-1, -2))
            out = self.quotient(torch.matmul(weights, v), self.denominator(weights))
            return out
        values = torch.matmul(phi_k.transpose(-1, -2), v) * (1 / k.shape[-2])
        out = self.quotient(torch.matmul(phi_q, values), self.denominator(phi_q, phi_k))
        return out
