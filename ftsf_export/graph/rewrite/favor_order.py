"""Order of the two products of FAVOR+, by cost.

phi(q) (phi(k)^T v) = (phi(q) phi(k)^T) v. For N tokens, M features and K values the left order takes 2 N M K
multiplications, the right one N^2 (M + K): the right one is cheaper for N < 2 M K / (M + K), about 103 at K = 64.
"""

from __future__ import annotations

from ftsf_export.graph.forms.grid import Grid

NAME = "favor-order"


def quadratic_is_cheaper(grid: Grid, features: int) -> bool:
    """Whether (phi(q) phi(k)^T) v takes fewer multiplications."""
    return grid.attending * (features + grid.width) < 2 * features * grid.width
