"""Queries, keys and values are made by three products instead of one packed product. A kernel that needs one of them
then reads that one: additive attention pools the queries, then the keys, then multiplies the values; and the values of
softmax attention are not copied along when queries and keys are turned. A compiler still makes one batched product of
the three.

Of attentions by weights only those along the stream's first axis are split: over whole frames in a row a compiler would
write the normed stream in another order for three products, in FP32. FAVOR+ by features copies all three anyway, and so
does softmax attention of several clips, where clip, position and head are no single stride.
"""

from __future__ import annotations

from ftsf_export.graph.forms.choices import Choices, Site
from ftsf_export.graph.forms.linear_map import LinearMap, columns
from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="qkv-apart",
    summary="Queries, keys and values as three products",
    equation=("x [W_q W_k W_v] = [x W_q, x W_k, x W_v]"),
    applies=lambda site, choices: choices.decomposed(site) and spares_copies(site, choices),
    effect=choosing(apart=True),
)


def spares_copies(site: Site, choices: Choices) -> bool:
    """Whether three products spare copies that the packed one needs."""
    if site.algebra == "additive":
        return True
    copied = choices.order == "features" if site.algebra == "favor" else not site.one_clip
    return site.algebra in ("softmax", "favor") and choices.grid.along == "time" and not copied


def apart(qkv: LinearMap) -> tuple[LinearMap, LinearMap, LinearMap]:
    """(queries, keys, values) of the packed product (D, 3 * H * K)."""
    inner = qkv.weight.shape[-1] // 3
    q, k, v = (columns(qkv, part * inner, (part + 1) * inner) for part in range(3))
    return q, k, v
