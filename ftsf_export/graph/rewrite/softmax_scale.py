"""Softmax scale in the queries' weights.

softmax(scale (x W_q) (x W_k)^T) = softmax((x (scale W_q)) (x W_k)^T), and the same with a bias.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ftsf_export.graph.forms.product import Product

NAME = "softmax-scale"


def folded_qkv(qkv: Product, scale: float) -> Product:
    """The packed product (D, 3 * H * K) with its first third, the queries, scaled."""

    def first_third(x: Tensor) -> Tensor:
        third = x.shape[-1] // 3
        return torch.cat((x[..., :third] * scale, x[..., third:]), dim=-1)

    return Product(first_third(qkv.weight), None if qkv.bias is None else first_third(qkv.bias))
