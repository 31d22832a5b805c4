"""Exact rewrites that even out channels before anything is rounded, so that one scale a tensor is enough.

1. ``norm``: the gain and bias of a LayerNorm divided by s, the rows of the products behind it multiplied by s:
   (n g / s + c / s) (diag(s) W) = (n g + c) W.
2. ``hidden``: the value half of a GEGLU divided, the rows of ``fc2`` multiplied: ((a / s) gelu(g)) (diag(s) W).
3. ``values``: the columns of an attention's values divided, the rows of its output projection multiplied. Exact, since
   the mixture of all three mechanisms is linear in the values, channel by channel.
4. ``scores``: the queries' columns divided and the keys' multiplied by one s a head, in softmax attention alone:
   (q / s) . (s k) = q . k, turned or not.
5. ``columns``: a weight whose result is quantized is divided by the largest of each column, and the result multiplied:
   x W = (x (W / c)) c. One scale then serves a weight as well as one a column.

s of 1 to 4 are powers of two, by which binary numbers are divided without rounding: the graph's values stay as they
are, to the bit. s_c = X_c^a / W_c^(1-a), X_c the channel's largest magnitude on clips, W_c that of the rows behind it
(Xiao et al. 2022, SmoothQuant), a = 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ftsf_export.graph.node_scopes import put_scope
from ftsf_export.network.scope import Scope
from ftsf_export.quantize.sites import Product, Site, read_by_products_alone

Array = npt.NDArray[np.floating]
ALPHA = 0.5
# No channel moves by more powers of two: the smallest of the moved values stay normal numbers of FP16.
_MOST = 8.0
# Mechanisms whose scores are products of queries and keys and nothing else.
_SCORES = "softmax"


def equalise(
    graph: ir.Graph, sites: Sequence[Site], channel_max: Mapping[str, Array], *, algebra: str, heads: int
) -> dict[str, int]:
    """Rewrites 1 to 4, in place: how often each was done. ``channel_max``: (C,) of each site's value, by its name."""
    done = dict.fromkeys(("norm", "hidden", "values", "scores"), 0)
    of_module = {site.module: site for site in sites if site.kind == "norm"}
    for site in sites:
        before = of_module.get(site.module)
        largest = channel_max[site.name]
        if site.kind == "norm":
            done["norm"] += _norm(graph, site, largest)
            done["scores"] += algebra == _SCORES and _scores(graph, site, heads)
        elif before is not None and site.kind == "hidden":
            done["hidden"] += _hidden(before, site, largest)
        elif before is not None and algebra != "other":
            done["values"] += _values(before, site, largest)
    return done


def normalise_columns(graph: ir.Graph, products: Sequence[Product]) -> int:
    """Rewrite 5, in place, of each of the ``products``: how many. The result before the multiplication is the product's
    own; it is what is to be quantized."""
    for product in products:
        weight = value_of(product.weight)
        largest = np.abs(weight).max(axis=0)
        largest = np.where(largest > 0, largest, 1.0).astype(weight.dtype)
        put_value(product.weight, weight / largest)
        factor = constant(graph, f"{product.module}.columns", largest)
        result = product.result
        users = list(result.uses())
        node = ir.Node("", "Mul", [result, factor], name=f"{product.module}/Mul:columns")
        put_scope(node, product.module)
        out = node.outputs[0]
        out.name, out.type, out.shape = node.name, result.type, result.shape
        for user, slot in users:
            user.replace_input_with(slot, out)
        graph.insert_after(product.node, node)
    return len(products)


def value_of(value: ir.Value) -> Array:
    """The numbers of an initializer."""
    assert value.const_value is not None
    numbers: Array = value.const_value.numpy()
    return numbers


def put_value(value: ir.Value, numbers: npt.NDArray[np.generic]) -> None:
    """Other numbers for an initializer, which may be of another type."""
    value.const_value = ir.tensor(np.asarray(numbers, order="C"), name=str(value.name))
    value.type = ir.TensorType(value.const_value.dtype)


def constant(graph: ir.Graph, name: str, numbers: npt.NDArray[np.generic]) -> ir.Value:
    """A new initializer."""
    value = ir.Value(name=name, shape=ir.Shape(numbers.shape))
    put_value(value, numbers)
    graph.initializers.add(value)
    return value


def _shares(largest: Array, rows: Array) -> Array:
    """s of each channel, a power of two; 1 where a channel or its rows are zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = ALPHA * np.log2(largest.astype(np.float64)) - (1 - ALPHA) * np.log2(rows.astype(np.float64))
    alive = np.isfinite(logs)
    if not alive.any():
        return np.ones_like(largest)
    exponents = np.round(np.where(alive, logs - logs[alive].mean(), 0.0))
    # The largest value grows by nothing: it comes no nearer to the end of FP16.
    sizes = np.log2(np.where(alive, largest, 1.0).astype(np.float64))
    exponents += max(0.0, np.ceil((sizes - exponents)[alive].max() - sizes[alive].max()))
    shares: Array = np.where(alive, 2.0 ** np.clip(exponents, -_MOST, _MOST), 1.0).astype(largest.dtype)
    return shares


def _rows(products: Sequence[Product]) -> Array:
    """The largest magnitude of each row over all of the products."""
    largest: Array = np.max([np.abs(value_of(one.weight)).max(axis=1) for one in products], axis=0)
    return largest


def _multiply_rows(products: Sequence[Product], shares: Array) -> None:
    for one in products:
        put_value(one.weight, value_of(one.weight) * shares.astype(value_of(one.weight).dtype)[:, None])


def _divide_columns(product: Product, shares: Array) -> None:
    weight = value_of(product.weight)
    put_value(product.weight, weight / shares.astype(weight.dtype))
    if product.bias_value is not None:
        put_value(product.bias_value, value_of(product.bias_value) / shares.astype(weight.dtype))


def _norm(graph: ir.Graph, site: Site, largest: Array) -> bool:
    node = site.source.producer()
    if node is None or not read_by_products_alone(site.source, site.products):
        return False
    shares = _shares(largest, _rows(site.products))
    # The gain of ones is one constant for all norms whose own is elsewhere: each norm gets its own.
    for slot, part in ((1, "weight"), (2, "bias")):
        value = node.inputs[slot] if len(node.inputs) > slot else None
        if value is None:
            continue
        divided = value_of(value) / shares.astype(value_of(value).dtype)
        if len(list(value.uses())) > 1:
            value = constant(graph, f"{Scope.of_node(str(node.name))}.{part}:evened", divided)
            node.replace_input_with(slot, value)
        put_value(value, divided)
    _multiply_rows(site.products, shares)
    return True


def _hidden(before: Site, site: Site, largest: Array) -> bool:
    value = before.product("fc1_value")
    made = site.source.producer()
    if value is None or made is None or made.op_type != "Mul":
        return False
    shares = _shares(largest, _rows(site.products))
    _divide_columns(value, shares)
    _multiply_rows(site.products, shares)
    return True


def _values(before: Site, site: Site, largest: Array) -> bool:
    """The values' product alone, or the last columns of a packed one."""
    product = next((one for role in ("to_v", "to_kv", "to_qkv") if (one := before.product(role))), None)
    if product is None:
        return False
    shares = _shares(largest, _rows(site.products))
    others = value_of(product.weight).shape[1] - len(shares)
    _divide_columns(product, np.concatenate((np.ones(others, shares.dtype), shares)))
    _multiply_rows(site.products, shares)
    return True


def _scores(graph: ir.Graph, site: Site, heads: int) -> bool:
    """Three products, or two; the queries' bias may be added after the split into heads, (H, 1, K)."""
    queries, keys = site.product("to_q"), site.product("to_k")
    if queries is None or keys is None:
        return False
    width = value_of(queries.weight).shape[1] // heads
    of_queries, of_keys = (
        np.abs(value_of(one.weight)).reshape(-1, heads, width).max((0, 2)) for one in (queries, keys)
    )
    if not (of_queries.all() and of_keys.all()):
        return False
    shares = 2.0 ** np.round(np.log2(of_queries / of_keys) / 2)
    wide = np.repeat(shares, width)
    late = graph.initializers.get(f"{site.module}.query_bias")
    if late is not None:
        put_value(late, value_of(late) / shares.astype(value_of(late).dtype)[:, None, None])
    _divide_columns(queries, wide)
    _divide_columns(keys, 1 / wide)
    return True
