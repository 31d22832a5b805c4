"""FAVOR+ (Choromanski et al. 2020) with a fixed projection, in three orders of its products.

phi is taken without its factor M^(-1/2), which cancels. The stabilising maximum is taken, and subtracted, in the
graph's own precision: a maximum is exact in any, and the difference of two numbers is exact where it is small, which
is where its exponential counts. The exponential itself is an island.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ftsf_export.graph.forms.island import FeatureDenominator, FeatureExponential, PairWeights, Quotient, RowSum
from ftsf_export.graph.forms.rotation import Rotation
from ftsf_export.graph.rewrite.favor_order import Order

# Products over tokens are padded to a multiple of this: half-precision kernels load eight numbers at a time, and a
# compiler that has to pad by itself copies the operands.
ALIGNMENT = 8


class FavorCore(nn.Module):
    """phi(q) (phi(k)^T v) / (phi(q) sum_n phi(k_n)) on (B, G, H, N, K); q may have fewer tokens than k and v.

    Args:
        omega_MK: the model's projection.
        eps: the floor under the features.
        kernel: ``softmax`` or ``relu``.
        rotation: of queries and keys, or None.
        order: which products are made (``graph.rewrite.favor_order``).
    """

    def __init__(self, omega_MK: Tensor, eps: float, kernel: str, rotation: Rotation | None, order: Order) -> None:
        super().__init__()
        width = omega_MK.shape[-1]
        # The scale of x' = x / K^(1/4) belongs to the projection.
        self.omega = nn.Parameter((omega_MK * width**-0.25).T.contiguous(), requires_grad=False)
        self.rotation, self.order, self.eps, self.kernel = rotation, order, eps, kernel
        if order == "pairs":
            self.weights = PairWeights(eps, width)
            return
        if kernel == "softmax":
            self.exp_q, self.exp_k = FeatureExponential(eps, width), FeatureExponential(eps, width)
        self.denominator = RowSum() if order == "weights" else FeatureDenominator()
        self.quotient = Quotient()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, query_is_class: bool = False) -> Tensor:
        if self.rotation is not None:
            q, k = (q if query_is_class else self.rotation(q)), self.rotation(k)
        if self.order == "pairs":
            return self._pairs(q, k, v)
        phi_q, phi_k = self._features(q, k)
        out: Tensor
        if self.order == "weights":
            weights = torch.matmul(phi_q, phi_k.transpose(-1, -2))
            out = self.quotient(torch.matmul(weights, v), self.denominator(weights))
            return out
        # Divided by N: sums over all keys and features would leave half precision's range.
        tokens = k.shape[-2]
        spare = -tokens % ALIGNMENT
        keys = pad(phi_k, (0, 0, 0, spare)).transpose(-1, -2)
        values = torch.matmul(keys, pad(v, (0, 0, 0, spare))) * (1 / tokens)
        out = self.quotient(torch.matmul(phi_q, values), self.denominator(phi_q, phi_k))
        return out

    def _features(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """phi of queries and keys, (..., N, M)."""
        projected_q, projected_k = torch.matmul(q, self.omega), torch.matmul(k, self.omega)
        if self.kernel == "relu":
            return torch.relu(projected_q) + self.eps, torch.relu(projected_k) + self.eps
        difference_q = projected_q - projected_q.amax(dim=-1, keepdim=True)
        difference_k = projected_k - projected_k.amax(dim=(-1, -2), keepdim=True)
        return self.exp_q(q, difference_q), self.exp_k(k, difference_k)

    def _pairs(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries and keys side by side, so that projection and maximum are one kernel each."""
        x = torch.stack((q, k))
        projected = torch.matmul(x, self.omega)
        highest = projected.amax(dim=-1, keepdim=True)
        tokens = highest.shape[-2]
        of_keys = highest[1:].amax(dim=-2, keepdim=True).expand(-1, -1, -1, -1, tokens, -1)
        out: Tensor = torch.matmul(self.weights(x, projected - torch.cat((highest[:1], of_keys))), v)
        return out
