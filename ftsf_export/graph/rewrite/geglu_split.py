"""The value and the gate of a GEGLU are two products, each with its own pointwise work, so that a compiler writes each
of them once instead of writing both halves and reading them again.
"""

from __future__ import annotations

from ftsf_export.graph.forms.linear_map import LinearMap, columns
from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="geglu-split",
    summary="GEGLU as two products",
    equation=("(a, g) = x [W_a W_g]: a * gelu(g) = (x W_a) * gelu(x W_g)"),
    applies=lambda site, _: site.part == "mlp" and site.gated,
    effect=choosing(gate_apart=True),
)


def split(fc1: LinearMap) -> tuple[LinearMap, LinearMap]:
    """(value, gate) of the packed product (D, 2 * R)."""
    hidden = fc1.weight.shape[-1] // 2
    return columns(fc1, 0, hidden), columns(fc1, hidden, 2 * hidden)
