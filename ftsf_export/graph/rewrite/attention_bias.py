"""Biases of softmax attention leave the products of queries, keys and values:

1. Values: the weights of a query sum to one, so their bias goes through to the output projection's.
2. Keys, without a rotation: q . b_k is the same for all keys of a query, and softmax does not see it.
3. Queries, without a rotation: the bias is added after the split into heads, where it is (H, 1, K).

Turned queries and keys keep their biases: each token turns by its own angle. Compilers make one batched product of
three without a bias and let the attention kernel read its results where they lie; with biases each of the three is
copied first.
"""

from __future__ import annotations

from torch import Tensor

from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="attention-bias",
    summary="Biases of queries, keys and values of softmax attention, away from the products",
    equation=(
        "softmax(s) (x W_v + 1 b_v) W_o + b_o = softmax(s) x W_v W_o + (b_v W_o + b_o); "
        "softmax_j(q . (k_j + b_k)) = softmax_j(q . k_j)"
    ),
    applies=lambda site, choices: site.algebra == "softmax" and site.qkv_bias and choices.apart,
    effect=choosing(biases_moved=True),
)


def without_bias(product: LinearMap) -> LinearMap:
    """The product alone."""
    return LinearMap(product.weight)


def query_bias(to_q: LinearMap, heads: int) -> Tensor | None:
    """(H, 1, K), for queries (..., H, N, K)."""
    return None if to_q.bias is None else to_q.bias.reshape(heads, 1, -1)


def carried(to_v: LinearMap, to_out: LinearMap) -> LinearMap:
    """The output projection with the values' bias gone through it. The product is taken in float64."""
    if to_v.bias is None:
        return to_out
    bias = to_v.bias.double() @ to_out.weight.double()
    if to_out.bias is not None:
        bias = bias + to_out.bias.double()
    return LinearMap(to_out.weight, bias.to(to_out.weight.dtype))


def moved(
    products: tuple[LinearMap, LinearMap, LinearMap], to_out: LinearMap, heads: int, *, turned: bool
) -> tuple[tuple[LinearMap, LinearMap, LinearMap], LinearMap, Tensor | None]:
    """The products of queries, keys and values, the output projection, and what is added to the split queries.

    ``turned``: queries and keys are rotated and keep their biases.
    """
    to_q, to_k, to_v = products
    to_out, to_v = carried(to_v, to_out), without_bias(to_v)
    bias = None if turned else query_bias(to_q, heads)
    if bias is not None:
        to_q, to_k = without_bias(to_q), without_bias(to_k)
    return (to_q, to_k, to_v), to_out, bias
