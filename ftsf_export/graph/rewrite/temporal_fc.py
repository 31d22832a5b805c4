"""Temporal output projection and the temporal ``fc`` as one product.

Nothing stands between them: (x W_o + b_o) W_f + b_f = x (W_o W_f) + (b_o W_f + b_f). Additive attention adds its queries
after the projection: (u W_o + b_o + q) W_f + b_f = [u q] [W_o W_f; W_f] + (b_o W_f + b_f): one product on twice the columns.
The products of weights are taken in float64.
"""

from __future__ import annotations

import torch

from ftsf_export.graph.forms.product import Product

NAME = "temporal-fc"


def folded(projection: Product, fc: Product) -> Product:
    """``fc(projection(x))`` as one product."""
    weight = projection.weight.double() @ fc.weight.double()
    return Product(weight.to(fc.weight.dtype), _folded_bias(projection, fc))


def folded_with_queries(projection: Product, fc: Product) -> Product:
    """``fc(projection(u) + q)`` as one product on (u, q) side by side."""
    weight = projection.weight.double() @ fc.weight.double()
    stacked = torch.cat((weight, fc.weight.double()))
    return Product(stacked.to(fc.weight.dtype), _folded_bias(projection, fc))


def _folded_bias(projection: Product, fc: Product) -> torch.Tensor | None:
    bias = None if fc.bias is None else fc.bias.double()
    if projection.bias is not None:
        carried = projection.bias.double() @ fc.weight.double()
        bias = carried if bias is None else carried + bias
    return None if bias is None else bias.to(fc.weight.dtype)
