"""A linear map with its weight as the graph wants it, (in, out): nothing has to be transposed later."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearMap(nn.Module):
    """x (..., in) -> x @ weight (in, out) + bias (out,), or without bias."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        # Weights are large: the caller's own tensor where it is contiguous, a copy otherwise.
        self.weight = nn.Parameter(weight.detach().contiguous(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> LinearMap:
        return cls(linear.weight.detach().T.clone(memory_format=torch.contiguous_format), linear.bias)

    @classmethod
    def side_by_side(cls, left: LinearMap, right: LinearMap) -> LinearMap:
        """One product with the output columns of both; a bias that one of them lacks is zero."""
        weight = torch.cat((left.weight, right.weight), dim=-1)
        if left.bias is None and right.bias is None:
            return cls(weight)
        biases = (weight.new_zeros(p.weight.shape[-1]) if p.bias is None else p.bias for p in (left, right))
        return cls(weight, torch.cat(tuple(biases)))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.matmul(x, self.weight)
        return y if self.bias is None else y + self.bias


def columns(product: LinearMap, start: int, stop: int) -> LinearMap:
    """Some of a product's output columns."""
    bias = None if product.bias is None else product.bias[start:stop]
    return LinearMap(product.weight[:, start:stop], bias)


class Norm(nn.Module):
    """LayerNorm over the last dimension; stays one ``LayerNormalization`` in the graph.

    ``affine``: with gain and bias; otherwise the product that follows holds them.
    """

    def __init__(self, norm: nn.LayerNorm, *, affine: bool = True) -> None:
        super().__init__()
        # The operator wants a gain; without one of its own, ones.
        gain = norm.weight if affine else torch.ones_like(norm.weight)
        self.weight = nn.Parameter(gain.detach().clone(), requires_grad=False)
        self.bias = nn.Parameter(norm.bias.detach().clone(), requires_grad=False) if affine else None
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(x, (x.shape[-1],), self.weight, self.bias, self.eps)
