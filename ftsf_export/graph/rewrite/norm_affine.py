"""The gain g and the bias c of a LayerNorm become part of the product behind it, which then takes the normed token n.
This is done only where the product has a bias to take c: without one it would get one, and compilers make one batched
product of queries, keys and values only without. The last norm keeps its own: its result, gain and bias included, is
compared with the model's. The product with the bias is taken in float64.
"""

from __future__ import annotations

from torch import nn

from ftsf_export.graph.forms.linear_map import LinearMap, Norm
from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="norm-affine",
    summary="LayerNorm's gain and bias in the next product",
    equation=("(n * g + c) W + b = n (diag(g) W) + (c W + b)"),
    applies=lambda site, _: site.part == "mlp" or (site.part == "attention" and site.qkv_bias),
    effect=choosing(norm_in_product=True),
)


def entered(norm: nn.LayerNorm, linear: nn.Linear, *, folded: bool) -> tuple[Norm, LinearMap]:
    """The two as they follow each other in the graph; ``folded``: the norm's gain and bias in the product."""
    product = LinearMap.from_linear(linear)
    if not folded or product.bias is None:
        return Norm(norm), product
    bias = norm.bias.double() @ product.weight.double() + product.bias.double()
    weight = norm.weight.to(product.weight.dtype)[:, None] * product.weight
    return Norm(norm, affine=False), LinearMap(weight, bias.to(product.weight.dtype))
