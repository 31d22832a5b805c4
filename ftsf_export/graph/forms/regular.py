"""Softmax attention as two products and a softmax: compilers recognise the pattern and make one kernel of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ftsf_export.graph.forms.rotation import Rotation


class RegularCore(nn.Module):
    """softmax(q k^T * scale) v on (B, G, H, N, K); q may have fewer tokens than k and v.

    Args:
        scale: 1 / sqrt K, or None where it has been folded into the queries' weights.
        rotation: of queries and keys, or None.
        operator: use the ONNX ``Attention`` operator (opset 23) instead of the decomposed form.
    """

    def __init__(self, scale: float | None, rotation: Rotation | None, *, operator: bool = False) -> None:
        super().__init__()
        self.scale = scale
        self.rotation = rotation
        self.operator = operator

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, query_is_class: bool = False) -> Tensor:
        if self.rotation is not None:
            # The class token is never turned.
            q, k = (q if query_is_class else self.rotation(q)), self.rotation(k)
        if self.operator:
            return self._operator(q, k, v)
        if self.scale is not None:
            q = q * self.scale
        return torch.matmul(torch.softmax(torch.matmul(q, k.transpose(-1, -2)), dim=-1), v)

    def _operator(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The operator takes (batch, H, N, K): groups join the batch."""
        flat_q, flat_k, flat_v = (t.reshape(-1, *t.shape[-3:]) for t in (q, k, v))
        scale = 1.0 if self.scale is None else self.scale
        out = torch.nn.functional.scaled_dot_product_attention(flat_q, flat_k, flat_v, scale=scale)
        return out.reshape(-1, *q.shape[1:])
