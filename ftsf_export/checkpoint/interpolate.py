"""Learned positions for other frames or another size than the model was trained with.

Nearest neighbour, over time along the frames and over space on the grid of patches, as the original's forward pass does
it (facebookresearch/TimeSformer, ``vit.py``, ``forward_features``) and Hugging Face's after it. The original's loader
(``helpers.py``, ``load_pretrained``) stretches the flattened grid instead, which tears rows apart; it is not followed.
The class token keeps its own row.

Letters: F frames, P patches a frame, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

Grid = tuple[int, int]


def time_from_time(pos_FD: Tensor, frames: int) -> Tensor:
    """(F, D) -> (frames, D)."""
    return functional.interpolate(pos_FD.T[None], size=frames, mode="nearest")[0].T


def space_from_space(pos_PD: Tensor, trained: Grid, wanted: Grid) -> Tensor:
    """(1 + P, D) of ``trained`` (rows, columns) -> (1 + P', D) of ``wanted``; row 0 is the class token's."""
    width = pos_PD.shape[-1]
    grid = pos_PD[1:].T.reshape(1, width, *trained)
    resized = functional.interpolate(grid, size=wanted, mode="nearest").reshape(width, -1).T
    return torch.cat((pos_PD[:1], resized))
