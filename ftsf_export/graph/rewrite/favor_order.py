"""FAVOR+ is three products, and the cheapest order of them is taken. For N tokens, M features and K values the left
order, ``features``, takes 2 N M K multiplications, the right one, ``weights``, N^2 (M + K): the right one is cheaper
for N < 2 M K / (M + K), about 103 at K = 64. With very few tokens (attention over time) no features need to be written
at all: each weight is the sum over features of a product of two exponentials, ``pairs``, made where it is added up,
from the projections alone.
"""

from __future__ import annotations

from dataclasses import replace

from ftsf_export.graph.forms.choices import Choices, Order, Site
from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.rewrite import Rewrite

REWRITE = Rewrite(
    name="favor-order",
    summary="Order of the products of FAVOR+, by cost",
    equation="phi(q) (phi(k)^T v) = (phi(q) phi(k)^T) v",
    applies=lambda site, choices: site.algebra == "favor" and choices.decomposed(site),
    effect=lambda site, choices: replace(choices, order=_order(site, choices)),
)


# Up to here the exponentials cost less than the traffic of the features. They are made N times for each token, and
# a runtime that does not fuse them writes N^2 M numbers.
MOST_TOKENS_IN_PAIRS = 16


def cheapest_order(grid: Grid, features: int, kernel: str, *, class_only: bool = False) -> Order:
    """The order to take. ``class_only``: of one query, for which weights are always cheaper.

    Pairs for the softmax kernel alone, ReLU has no exponentials to fuse; and only where the tokens that attend to each
    other come one after the other with their groups side by side, (N, groups), as pairs are mixed in place.
    """
    if class_only:
        return "weights"
    if grid.attending * (features + grid.width) >= 2 * features * grid.width:
        return "features"
    few = grid.attending <= MOST_TOKENS_IN_PAIRS and grid.along == "time"
    return "pairs" if few and kernel == "softmax" else "weights"


def _order(site: Site, choices: Choices) -> Order:
    return cheapest_order(choices.grid, site.features, site.kernel, class_only=choices.class_only)
