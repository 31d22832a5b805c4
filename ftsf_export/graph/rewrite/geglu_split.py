"""GEGLU as two products.

(a, g) = x [W_a W_g] with a * gelu(g) = (x W_a) * gelu(x W_g): each half's product carries its own pointwise work, so that a
compiler writes each of them once instead of writing both halves and reading them again.
"""

from __future__ import annotations

from ftsf_export.graph.forms.product import Product

NAME = "geglu-split"


def split(fc1: Product) -> tuple[Product, Product]:
    """(value, gate) of the packed product (D, 2 * R)."""
    hidden = fc1.weight.shape[-1] // 2
    biases = (None, None) if fc1.bias is None else (fc1.bias[:hidden], fc1.bias[hidden:])
    return Product(fc1.weight[:, :hidden], biases[0]), Product(fc1.weight[:, hidden:], biases[1])
