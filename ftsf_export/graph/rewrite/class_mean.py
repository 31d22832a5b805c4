"""Weights of a mean sum to one, so the mean may come before the projection. FAVOR+ by features divides by its
denominators after its last product, in a kernel that also puts the tokens back in place; the mean becomes part of
that one, and F - 1 rows need no projection. Attention by weights has no such kernel: there the mean is cheaper where
the stream is normed.
"""

from __future__ import annotations

from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="class-mean",
    summary="The class token's mean over frames before the output projection, in FAVOR+",
    equation=("mean_f (u_f W_o + b_o) = (mean_f u_f) W_o + b_o"),
    applies=lambda site, choices: (
        site.algebra == "favor"
        and choices.order == "features"
        and site.framed
        and choices.decomposed(site)
        and not choices.class_only
    ),
    effect=choosing(mean_first=True),
)
