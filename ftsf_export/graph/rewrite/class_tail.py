"""Logits are a function of the class token alone. In the last block its attention among tokens asks with one query a
frame, of keys and values of all tokens; its MLP sees one token. Every other row of the last two branches is read by
nobody. Softmax attention and FAVOR+ take the mean over frames before the output projection.
"""

from __future__ import annotations

from ftsf_export.bundle.specs import CLASS_TAIL
from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name=CLASS_TAIL,
    summary="The last block computes only what the class token needs",
    equation=("logits = head(norm(x_class)); mean_f (x_f W + b) = (mean_f x_f) W + b"),
    applies=lambda site, _: site.last and site.part == "attention" and not site.temporal,
    effect=choosing(class_only=True),
)
