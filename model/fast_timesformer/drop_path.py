"""Stochastic depth (Huang et al. 2016): a residual branch is dropped for whole samples while training."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """Zero the branch for a sample with probability ``rate``; divide the others by 1 - rate.

    The mean over draws is the branch itself. The identity in evaluation and at rate 0. A sample is one index of
    the first dimension: a clip, or one of its frames where ``attn_type`` is ``space``.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"rate: expected a probability, at least 0 and below 1, got {rate!r}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
