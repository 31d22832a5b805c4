"""The linear map behind the temporal attention follows its output projection with nothing between the two, so both are
one product. Additive attention adds its queries h W_q + b_q after the projection: they go through the map as well, as
many products as before, but the second one no longer waits for the first. Products of weights are taken in float64.
"""

from __future__ import annotations

from torch import Tensor

from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="temporal-fc",
    summary="Temporal output projection and the temporal fc as one product",
    equation=(
        "(x W_o + b_o) W_f + b_f = x (W_o W_f) + (b_o W_f + b_f); "
        "(u W_o + b_o + h W_q + b_q) W_f + b_f = u (W_o W_f) + h (W_q W_f) + ((b_o + b_q) W_f + b_f)"
    ),
    applies=lambda site, _: site.temporal,
    effect=choosing(fc_in_projection=True),
)


def folded(projection: LinearMap, fc: LinearMap) -> LinearMap:
    """``fc(projection(x))`` as one product."""
    weight = projection.weight.double() @ fc.weight.double()
    biases = [fc.bias] if fc.bias is not None else []
    if projection.bias is not None:
        biases.append(projection.bias.double() @ fc.weight.double())
    bias: Tensor | None = sum(b.double() for b in biases) if biases else None  # type: ignore[assignment]
    return LinearMap(weight.to(fc.weight.dtype), None if bias is None else bias.to(fc.weight.dtype))


def folded_queries(queries: LinearMap, fc: LinearMap) -> LinearMap:
    """``fc(queries(h))`` without ``fc``'s own bias, which the projection's product carries."""
    return folded(queries, LinearMap(fc.weight))
