"""Queries, keys and values as three products.

x [W_q W_k W_v] = [x W_q, x W_k, x W_v]. A kernel that needs one of them then reads that one: additive attention pools
the queries, then the keys, then multiplies the values; and the values of softmax attention are not copied along when
queries and keys are turned. A compiler still makes one batched product of the three.
"""

from __future__ import annotations

from ftsf_export.graph.forms.product import Product, columns

NAME = "qkv-apart"


def apart(qkv: Product) -> tuple[Product, Product, Product]:
    """(queries, keys, values) of the packed product (D, 3 * H * K)."""
    inner = qkv.weight.shape[-1] // 3
    q, k, v = (columns(qkv, part * inner, (part + 1) * inner) for part in range(3))
    return q, k, v
