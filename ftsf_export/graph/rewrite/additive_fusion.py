"""The two poolings of additive attention are written as the two products and the softmax that compilers know, with the
tokens as the rows of Y. A compiler that sees multiply and sum makes about seven kernels of them, one that sees an
attention makes one.
"""

from __future__ import annotations

from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="additive-fusion",
    summary="The two poolings of additive attention as attentions with one query",
    equation=("sum_n softmax_n(w . y_n) y_n = softmax(w Y^T) Y"),
    applies=lambda site, choices: site.algebra == "additive" and choices.decomposed(site),
    effect=choosing(pools_as_attention=True),
)
