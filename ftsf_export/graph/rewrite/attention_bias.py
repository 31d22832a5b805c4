"""Biases of queries, keys and values of softmax attention, away from the products.

1. Values: the weights of a query sum to one, so softmax(s) (x W_v + 1 b_v) W_o + b_o =
   softmax(s) x W_v W_o + (b_v W_o + b_o): the bias goes through to the output projection's.
2. Keys, without a rotation: q . (k_j + b_k) = q . k_j + q . b_k, and q . b_k is the same for all keys j of a query:
   softmax does not see it.
3. Queries: the bias is added after the split into heads, where it is (H, 1, K).

Compilers make one batched product of three without a bias and let the attention kernel read its results where they lie;
with biases each of the three is copied first.
"""

from __future__ import annotations

from torch import Tensor

from ftsf_export.graph.forms.product import Product

NAME = "attention-bias"


def without_bias(product: Product) -> Product:
    """The product alone."""
    return Product(product.weight)


def query_bias(to_q: Product, heads: int) -> Tensor | None:
    """(H, 1, K), for queries (..., H, N, K)."""
    return None if to_q.bias is None else to_q.bias.reshape(heads, 1, -1)


def carried(to_v: Product, to_out: Product) -> Product:
    """The output projection with the values' bias gone through it. The product is taken in float64."""
    if to_v.bias is None:
        return to_out
    bias = to_v.bias.double() @ to_out.weight.double()
    if to_out.bias is not None:
        bias = bias + to_out.bias.double()
    return Product(to_out.weight, bias.to(to_out.weight.dtype))
