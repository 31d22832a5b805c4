"""Which rows of the flat stream are patches and which are copies of the class token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ftsf_export.graph.forms.grid import Grid


class Rows(nn.Module):
    """The class token's rows, chosen by multiplying or selecting: cutting them out and putting them back in copies the
    tensor twice. All blocks share the two constants.

    ``patches`` (1, S, 1): 1 in the rows of patches, 0 in those of the class token's copies.
    ``is_class`` (1, 1, T, 1): whether a token of a frame is the class token.
    """

    is_class: Tensor

    def __init__(self, grid: Grid, dtype: torch.dtype) -> None:
        super().__init__()
        self.grid = grid
        rows = torch.ones(grid.frames, grid.tokens, 1, dtype=dtype)
        rows[:, 0] = 0
        self.patches = nn.Parameter(rows.reshape(1, -1, 1), requires_grad=False)
        self.register_buffer("is_class", (rows[:1] == 0)[None])

    def without_class(self, y_BSD: Tensor) -> Tensor:
        """The same with zeros in the class token's rows."""
        return y_BSD * self.patches

    def share_class(self, y_BSD: Tensor) -> Tensor:
        """The same with the mean over frames of the class token's rows in each of them.

        The mean is taken of every token and selected for the class token: one pass over the tensor.
        """
        grid, width = self.grid, y_BSD.shape[-1]
        y_BFTD = y_BSD.reshape(-1, grid.frames, grid.tokens, width)
        shared = torch.where(self.is_class, y_BFTD.mean(dim=1, keepdim=True), y_BFTD)
        return shared.reshape(-1, grid.frames * grid.tokens, width)
