"""Rotary positions turn pairs of neighbours (2i, 2i + 1) in the model, and pairs of halves (i, i + K/2) in the graph,
by the permutation Pi that sends element 2i to i and 2i + 1 to i + K/2; R is the rotation of neighbours and R' that of
halves. Scores are scalar products: rows of the query and key weights are permuted once, and the graph then cuts a head
in two contiguous halves instead of picking every second element. FAVOR+ sees omega . x, so the columns of omega are
permuted as well. Values, and all that comes after the attention, stay.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="rotation-halves",
    summary="Rotation of neighbours as rotation of halves",
    equation=("Pi R x = R' Pi x, and (Pi q) . (Pi k) = q . k"),
    applies=lambda site, choices: site.algebra in ("softmax", "favor") and site.rotated and choices.decomposed(site),
    effect=choosing(halves=True),
)


def permuted(x: Tensor) -> Tensor:
    """Pi along the last dimension, K."""
    return torch.cat((x[..., 0::2], x[..., 1::2]), dim=-1)


def permuted_qkv(qkv: LinearMap, heads: int, width: int) -> LinearMap:
    """The packed product (D, 3 * H * K) with the columns of every query and key head permuted."""

    def columns(x: Tensor) -> Tensor:
        parts = x.reshape(*x.shape[:-1], 3, heads, width)
        turned = permuted(parts[..., :2, :, :])
        return torch.cat((turned, parts[..., 2:, :, :]), dim=-3).reshape(x.shape)

    return LinearMap(columns(qkv.weight), None if qkv.bias is None else columns(qkv.bias))
