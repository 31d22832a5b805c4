"""FAVOR+ (Choromanski et al. 2020) with a fixed projection, in three orders of its products.

phi is taken without its factor M^(-1/2), which cancels. Its exponential is an island.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ftsf_export.graph.forms.island import (
    FeatureDenominator,
    FeatureExponential,
    PairMix,
    QueryFeatures,
    Quotient,
    Shares,
)
from ftsf_export.graph.forms.rotation import Rotation

# Products over tokens are padded to a multiple of this: half-precision kernels load numbers in pairs at least, and a
# compiler that has to pad by itself copies the operands.
ALIGNMENT = 2


def even_tokens(x: Tensor) -> Tensor:
    """(..., N, X) with tokens of zeros up to a multiple of the alignment."""
    return pad(x, (0, 0, 0, -x.shape[-2] % ALIGNMENT))


class FavorCore(nn.Module):
    """phi(q) (phi(k)^T v) / (phi(q) sum_n phi(k_n)).

    Args:
        omega_MK: the model's projection.
        eps: the floor under the features.
        kernel: ``softmax`` or ``relu``.
        rotation: of queries and keys, or None.
    """

    def __init__(self, omega_MK: Tensor, eps: float, kernel: str, rotation: Rotation | None) -> None:
        super().__init__()
        self.width = omega_MK.shape[-1]
        # The scale of x' = x / K^(1/4) belongs to the projection.
        self.omega = nn.Parameter((omega_MK * self.width**-0.25).T.contiguous(), requires_grad=False)
        self.rotation, self.eps, self.kernel = rotation, eps, kernel
        self._add_islands()

    def _add_islands(self) -> None:
        if self.kernel == "softmax":
            self.phi_q, self.phi_k = QueryFeatures(self.eps, self.width), FeatureExponential(self.eps, self.width)

    def turned(self, q: Tensor, k: Tensor, *, query_is_class: bool = False) -> tuple[Tensor, Tensor]:
        """Queries and keys, rotated; the class token never is."""
        if self.rotation is None:
            return q, k
        return (q if query_is_class else self.rotation(q)), self.rotation(k)

    def features(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """phi of queries and keys, (..., N, M); a query's features are known but for a factor."""
        projected_q, projected_k = torch.matmul(q, self.omega), torch.matmul(k, self.omega)
        if self.kernel == "relu":
            return torch.relu(projected_q) + self.eps, torch.relu(projected_k) + self.eps
        # Over all keys the maximum is a kernel of its own, which reads and writes the graph's own precision: a maximum
        # is exact in any, and the difference of two numbers is exact where it is small and its exponential counts.
        difference_k = projected_k - projected_k.flatten(-2).amax(dim=-1)[..., None, None]
        return self.phi_q(q, projected_q), self.phi_k(k, difference_k)


class FeaturesCore(FavorCore):
    """phi(q) (phi(k)^T v): queries, keys and values (B, G, H, N, K) -> the same."""

    def _add_islands(self) -> None:
        super()._add_islands()
        self.quotient = Quotient()
        if self.kernel == "relu":
            self.denominator = FeatureDenominator()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, query_is_class: bool = False) -> Tensor:
        phi_q, phi_k = self.features(*self.turned(q, k, query_is_class=query_is_class))
        out: Tensor
        if self.kernel == "relu":
            # These features have no bound, and neither has the denominator.
            out = self.quotient(torch.matmul(phi_q, self._sums(phi_k, v)), self.denominator(phi_q, phi_k))
            return out
        # A column of ones among the values gives the denominator: phi(q) sum_n phi(k_n) 1. A pair of them, for
        # alignment. Both features are at most 2 and never all small, so that neither sum leaves half precision.
        mixed = torch.matmul(phi_q, self._sums(phi_k, pad(v, (0, ALIGNMENT), value=1.0)))
        width = v.shape[-1]
        out = self.quotient(mixed[..., :width], mixed[..., width : width + 1])
        return out

    def _sums(self, phi_k: Tensor, v: Tensor) -> Tensor:
        """mean_n phi(k_n) v_n^T: divided by N, sums over all keys stay in half precision's range."""
        return torch.matmul(even_tokens(phi_k).transpose(-1, -2), even_tokens(v)) * (1 / v.shape[-2])


class WeightsCore(FavorCore):
    """(phi(q) phi(k)^T) v: queries, keys and values (B, G, H, N, K) -> queries' shape."""

    def _add_islands(self) -> None:
        super()._add_islands()
        self.shares = Shares()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, query_is_class: bool = False) -> Tensor:
        return torch.matmul(self.weights(q, k, query_is_class=query_is_class), even_tokens(v))

    def weights(self, q: Tensor, k: Tensor, *, query_is_class: bool = False) -> Tensor:
        """The weights of queries and keys, (..., N, N), as many keys as ``even_tokens`` makes; a query's sum to one."""
        phi_q, phi_k = self.features(*self.turned(q, k, query_is_class=query_is_class))
        # Keys of zeros, all of whose features are zero, weigh nothing.
        shares: Tensor = self.shares(torch.matmul(phi_q, even_tokens(phi_k).transpose(-1, -2)))
        return shares


class PairsCore(FavorCore):
    """The same without features: tokens in place, (B, N, G, H, K) -> the same. The softmax kernel's alone."""

    def _add_islands(self) -> None:
        self.mix = PairMix(self.eps, self.width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries and keys side by side, so that projection and maximum are one kernel each."""
        x = torch.stack(self.turned(q, k))
        projected = torch.matmul(x, self.omega)
        highest = projected.amax(dim=-1, keepdim=True)
        tokens = highest.shape[2]
        of_keys = highest[1:].amax(dim=2, keepdim=True).expand(-1, -1, tokens, -1, -1, -1)
        out: Tensor = self.mix(x, projected - torch.cat((highest[:1], of_keys)), v)
        return out
