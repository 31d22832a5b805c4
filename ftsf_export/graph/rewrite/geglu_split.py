"""GEGLU as two products.

(a, g) = x [W_a W_g] with a * gelu(g) = (x W_a) * gelu(x W_g): each half's product carries its own pointwise work, so
that a compiler writes each of them once instead of writing both halves and reading them again.
"""

from __future__ import annotations

from ftsf_export.graph.forms.product import Product, columns

NAME = "geglu-split"


def split(fc1: Product) -> tuple[Product, Product]:
    """(value, gate) of the packed product (D, 2 * R)."""
    hidden = fc1.weight.shape[-1] // 2
    return columns(fc1, 0, hidden), columns(fc1, hidden, 2 * hidden)
