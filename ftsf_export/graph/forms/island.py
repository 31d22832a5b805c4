"""Islands: modules whose nodes stay FP32 when the graph becomes half precision.

An island is a module of its own, so that its path is in the name of each of its nodes; the precision pass asks for
nothing else. The reason travels to the manifest.
"""

from __future__ import annotations

import math
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from ftsf_export.network.scope import Scope


class IslandModule(nn.Module):
    """A module whose nodes stay FP32; the base of all islands."""

    reason: ClassVar[str]  #: Why half precision does not do here, for the manifest and the report.


def islands_of(module: nn.Module) -> dict[Scope, str]:
    """Path of every island below ``module`` -> its reason."""
    return {Scope(path): child.reason for path, child in module.named_modules() if isinstance(child, IslandModule)}


class SoftmaxOverTokens(IslandModule):
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


class Exponential(IslandModule):
    """Base of the islands that make features of FAVOR+; ``eps`` is their floor, ``width`` that of a head."""

    def __init__(self, eps: float, width: int) -> None:
        super().__init__()
        self.eps = eps
        # x' = x / K^(1/4), so |x'|^2 / 2 = |x|^2 / (2 sqrt K).
        self.half_inverse_root = width**-0.5 / 2

    def half_square(self, x: Tensor) -> Tensor:
        """|x'|^2 / 2: (..., K) -> (..., 1)."""
        squares: Tensor = (x * x).sum(dim=-1, keepdim=True) * self.half_inverse_root
        return squares

    def features(self, x: Tensor, difference: Tensor) -> Tensor:
        """exp(difference - |x'|^2 / 2) + eps."""
        return torch.exp(difference - self.half_square(x)) + self.eps


class FeatureExponential(Exponential):
    """exp(difference - |x'|^2 / 2) + eps of FAVOR+.

    Args of forward: tokens ``x`` (..., N, K); ``difference`` (..., N, M), their projections less the stabiliser.
    """

    reason = (
        "FAVOR+ subtracts |x|^2 / 2 before the exponential: in half precision |x|^2 overflows, and the error of the "
        "difference is multiplied into every feature"
    )

    def forward(self, x: Tensor, difference: Tensor) -> Tensor:
        return self.features(x, difference)


class QueryFeatures(FeatureExponential):
    """phi(q) of FAVOR+ but for a factor for each query, which cancels. Args of forward: queries ``x`` (..., N, K);
    ``projected`` (..., N, M), whose maximum is taken here: one kernel then reads them once.

    With h = |x'|^2 / 2 the factor is exp(min(h, -log eps)): the largest feature then lies between 1 and 2, however long
    the query, and what is summed over features stays in half precision's range.
    """

    def forward(self, x: Tensor, projected: Tensor) -> Tensor:
        half_square = self.half_square(x)
        factor = half_square.clamp(max=-math.log(self.eps))
        difference = projected - projected.amax(dim=-1, keepdim=True)
        return torch.exp(difference - (half_square - factor)) + self.eps * torch.exp(factor)


class PairMix(Exponential):
    """FAVOR+ of few tokens from both tokens' exponents: values mixed by weights that sum to one.

    Args of forward: queries and keys side by side, ``x`` (2, B, N, G, H, K) and ``difference`` (2, B, N, G, H, M),
    their projections less the stabiliser; values (B, N, G, H, K). Returns the values' shape.
    """

    reason = FeatureExponential.reason + "; the weights' sums and quotients are denominators as well"

    def forward(self, x: Tensor, difference: Tensor, v: Tensor) -> Tensor:
        phi = self.features(x, difference)
        weights_BNNGH = (phi[0][:, :, None] * phi[1][:, None]).sum(dim=-1)
        # Sums over few keys are written out: that makes one kernel of the whole mixture.
        keys = range(v.shape[1])
        weights = [weights_BNNGH[:, :, key, ..., None] for key in keys]
        mixed = sum(weight * v[:, key, None] for key, weight in zip(keys, weights, strict=True))
        return cast(Tensor, mixed) / cast(Tensor, sum(weights))


class Quotient(IslandModule):
    """numerator (..., N, K) / denominator (..., N, 1) of FAVOR+."""

    reason = (
        "FAVOR+ divides by sums over all keys and features: where no product makes them they leave the range of half "
        "precision, and the error of a quotient is in every value"
    )

    def forward(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        return numerator / denominator


class Shares(IslandModule):
    """FAVOR+ weights (..., N, N) divided by their sum over the keys."""

    reason = Quotient.reason

    def forward(self, weights: Tensor) -> Tensor:
        return weights / weights.sum(dim=-1, keepdim=True)


class FeatureDenominator(IslandModule):
    """phi(q) . mean_n phi(k_n): features (..., N, M) of queries and keys -> (..., N, 1)."""

    reason = Quotient.reason

    def forward(self, phi_q: Tensor, phi_k: Tensor) -> Tensor:
        return (phi_q * phi_k.mean(dim=-2, keepdim=True)).sum(dim=-1, keepdim=True)
