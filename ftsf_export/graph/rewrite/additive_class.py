"""The copies of the class token enter the attention within frames with equal queries q and values v in every frame f,
and additive attention is linear in the values, so the mean over frames of what the copies get needs only the mean of
the pooled keys G_f: F vectors a head instead of a mean that is taken of, and put back into, the whole stream.
"""

from __future__ import annotations

from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="additive-class",
    summary="The class token's mean over frames, taken of the pooled keys",
    equation=("mean_f ((G_f * v) W_o + q) = ((mean_f G_f) * v) W_o + q"),
    applies=lambda site, choices: (
        site.algebra == "additive" and site.framed and choices.decomposed(site) and not choices.class_only
    ),
    effect=choosing(keys_mean=True),
)
