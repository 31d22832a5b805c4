"""Norms and products act on each token alone, so they commute with any order P of the tokens. The frames of a divided
block are therefore joined with the F frames of one position side by side, (T, F), instead of frame after frame, (F,
T). Split into heads, head and frame are then one stride: a fused attention reads its values where the product left
them, and the order back is part of the kernel that adds the result to the stream. A plugin's kernel takes a frame's
tokens side by side: its frames stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

from ftsf_export.graph.forms.choices import Choices
from ftsf_export.graph.rewrite import Rewrite

REWRITE = Rewrite(
    name="regrouping",
    summary="Regrouping of frames as part of the head split and of the norm before it",
    equation=("LN(P x) W = P (LN(x) W)"),
    applies=lambda site, choices: site.framed and choices.decomposed(site),
    effect=lambda _, choices: regrouped(choices),
)


def regrouped(choices: Choices) -> Choices:
    """Choices for the other order, where tokens of a frame are as far apart as the frames of a position were."""
    grid = choices.grid
    return replace(choices, regrouped=True, grid=replace(grid, frames=grid.tokens, tokens=grid.frames, along="time"))
