"""LayerNorm's gain and bias in the next product.

(n * g + c) W + b = n (diag(g) W) + (c W + b), with n the normed token. Where the product has a bias to take c: without
one it would get one, and compilers make one batched product of queries, keys and values only without. The last norm
keeps its own: its result, gain and bias included, is compared with the model's. The product with the bias is
taken in float64.
"""

from __future__ import annotations

from torch import nn

from ftsf_export.graph.forms.product import Norm, Product
from ftsf_export.graph.rewrite import Rewrites

NAME = "norm-affine"


def entered(norm: nn.LayerNorm, linear: nn.Linear, rewrites: Rewrites) -> tuple[Norm, Product]:
    """The two as they follow each other in the graph."""
    product = Product.from_linear(linear)
    if NAME not in rewrites or product.bias is None:
        return Norm(norm), product
    bias = norm.bias.double() @ product.weight.double() + product.bias.double()
    weight = norm.weight.to(product.weight.dtype)[:, None] * product.weight
    return Norm(norm, affine=False), Product(weight, bias.to(product.weight.dtype))
