"""Islands: modules whose nodes stay FP32 when the graph becomes half precision.

An island is a module of its own, so that its path is in the name of each of its nodes; the precision pass asks for
nothing else. The reason travels to the manifest.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Island(nn.Module):
    """Base of the modules that stay FP32. ``reason`` says why, for the manifest and the report."""

    reason: ClassVar[str]


def islands_of(module: nn.Module) -> dict[str, str]:
    """Path of every island below ``module`` -> its reason."""
    return {path: child.reason for path, child in module.named_modules() if isinstance(child, Island)}


class SoftmaxOverTokens(Island):
    """softmax over one token axis of additive attention's logits."""

    reason = (
        "additive attention pools all tokens with one softmax: in half precision the sum over tokens loses the small "
        "shares and the exponentials of the logits overflow"
    )

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits, dim=self.axis)


class FeatureExponential(Island):
    """exp(difference - |x'|^2 / 2) + eps of FAVOR+.

    Args of forward: tokens ``x`` (..., N, K); ``difference`` (..., N, M), their projections less the stabiliser.
    """

    reason = (
        "FAVOR+ subtracts |x|^2 / 2 before the exponential: in half precision |x|^2 overflows, and the error of the "
        "difference is multiplied into every feature"
    )

    def __init__(self, eps: float, width: int) -> None:
        super().__init__()
        self.eps = eps
        # x' = x / K^(1/4), so |x'|^2 / 2 = |x|^2 / (2 sqrt K).
        self.half_inverse_root = width**-0.5 / 2

    def forward(self, x: Tensor, difference: Tensor) -> Tensor:
        half_square = (x * x).sum(dim=-1, keepdim=True) * self.half_inverse_root
        return torch.exp(difference - half_square) + self.eps


class PairWeights(FeatureExponential):
    """FAVOR+ weights of every query and key, normalised over the keys, from both tokens' exponents.

    Args of forward: queries and keys side by side, ``x`` (2, ..., N, K) and ``difference`` (2, ..., N, M). Returns
    (..., N, N).
    """

    reason = FeatureExponential.reason + "; the weights' sums and quotients are denominators as well"

    def forward(self, x: Tensor, difference: Tensor) -> Tensor:
        phi = super().forward(x, difference)
        weights = (phi[0][..., :, None, :] * phi[1][..., None, :, :]).sum(dim=-1)
        return weights / weights.sum(dim=-1, keepdim=True)


class Quotient(Island):
    """numerator (..., N, K) / denominator (..., N, 1) of FAVOR+."""

    reason = "the denominators of FAVOR+ are sums over all keys and features: they leave the range of half precision"

    def forward(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        return numerator / denominator


class RowSum(Island):
    """Sum of FAVOR+ weights (..., N, N) over the keys, kept (..., N, 1)."""

    reason = Quotient.reason

    def forward(self, weights: Tensor) -> Tensor:
        return weights.sum(dim=-1, keepdim=True)


class FeatureDenominator(Island):
    """phi(q) . mean_n phi(k_n): features (..., N, M) of queries and keys -> (..., N, 1)."""

    reason = Quotient.reason

    def forward(self, phi_q: Tensor, phi_k: Tensor) -> Tensor:
        return (phi_q * phi_k.mean(dim=-2, keepdim=True)).sum(dim=-1, keepdim=True)
