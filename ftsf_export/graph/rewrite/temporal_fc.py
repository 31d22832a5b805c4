"""Temporal output projection and the temporal ``fc`` as one product.

Nothing stands between them: (x W_o + b_o) W_f + b_f = x (W_o W_f) + (b_o W_f + b_f). Additive attention adds its
queries h W_q + b_q after the projection: (u W_o + b_o + h W_q + b_q) W_f + b_f = u (W_o W_f) + h (W_q W_f) + ((b_o +
b_q) W_f + b_f), as many products as before, but the second one no longer waits for the first. Products of weights are
taken in float64.
"""

from __future__ import annotations

from torch import Tensor

from ftsf_export.graph.forms.product import Product

NAME = "temporal-fc"


def folded(projection: Product, fc: Product) -> Product:
    """``fc(projection(x))`` as one product."""
    weight = projection.weight.double() @ fc.weight.double()
    biases = [fc.bias] if fc.bias is not None else []
    if projection.bias is not None:
        biases.append(projection.bias.double() @ fc.weight.double())
    bias: Tensor | None = sum(b.double() for b in biases) if biases else None  # type: ignore[assignment]
    return Product(weight.to(fc.weight.dtype), None if bias is None else bias.to(fc.weight.dtype))


def folded_queries(queries: Product, fc: Product) -> Product:
    """``fc(queries(h))`` without ``fc``'s own bias, which the projection's product carries."""
    return folded(queries, Product(fc.weight))
