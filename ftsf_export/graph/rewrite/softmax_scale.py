"""The scale of softmax attention becomes part of the queries' weights, and of their bias where they have one."""

from __future__ import annotations

import torch
from torch import Tensor

from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="softmax-scale",
    summary="Softmax scale in the queries' weights",
    equation=("softmax(scale (x W_q) (x W_k)^T) = softmax((x (scale W_q)) (x W_k)^T)"),
    applies=lambda site, choices: site.algebra == "softmax" and choices.decomposed(site),
    effect=choosing(scale_in_queries=True),
)


def folded_qkv(qkv: LinearMap, scale: float, thirds: int = 1) -> LinearMap:
    """The packed product (D, 3 * H * K) with its first third, the queries, scaled; with two the keys as well."""

    def scaled(x: Tensor) -> Tensor:
        end = thirds * x.shape[-1] // 3
        return torch.cat((x[..., :end] * scale, x[..., end:]), dim=-1)

    return LinearMap(scaled(qkv.weight), None if qkv.bias is None else scaled(qkv.bias))
