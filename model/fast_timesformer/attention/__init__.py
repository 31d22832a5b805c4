"""Three attention mechanisms with one signature: ``forward(x_BND, rotary=None, num_prefix=0)``, (B, N, D)."""

from fast_timesformer.attention.base import Attention
from fast_timesformer.attention.fastformer import FastAttention, FastformerAttention
from fast_timesformer.attention.performer import PerformerAttention
from fast_timesformer.attention.regular import RegularAttention

__all__ = ["Attention", "FastAttention", "FastformerAttention", "PerformerAttention", "RegularAttention"]
