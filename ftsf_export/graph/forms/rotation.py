"""Rotary positions with static tables. A pair is two neighbours (2i, 2i + 1), as in the model, or elements of the two
halves (i, i + K/2) where the weights have been permuted (``graph.rewrite.rotation_halves``)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ftsf_export.graph.rewrite import rotation_halves


def quarter_turn(x: Tensor) -> Tensor:
    """J x: every pair of neighbours (a, b) -> (-b, a). A rotation by t is cos t x + sin t J x."""
    pairs = x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2)
    return torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).reshape(x.shape)


class RotaryTables(nn.Module):
    """cos and sin of every token that attends, (N, K) each; both members of a pair hold one value.

    All blocks share them: one instance belongs to the root of the form, and each attention holds the tensors it needs
    in the layout that it needs, made once. The graph never computes on a table.
    """

    def __init__(self, cos: Tensor, sin: Tensor, prefix: int) -> None:
        """``prefix`` tokens, the class token, are put before the others and not turned."""
        super().__init__()
        still = cos.new_ones(prefix, cos.shape[-1])
        self._cos_NK = torch.cat((still, cos.detach()))
        self._sin_NK = torch.cat((torch.zeros_like(still), sin.detach()))

    def neighbours(self) -> tuple[Tensor, Tensor]:
        """(N, K), for pairs of neighbours."""
        return self._made("neighbours", self._cos_NK, self._sin_NK)

    def halves(self) -> tuple[Tensor, Tensor]:
        """(N, K / 2): one value a pair."""
        width = self._cos_NK.shape[-1] // 2
        cos, sin = (rotation_halves.permuted(t)[..., :width] for t in (self._cos_NK, self._sin_NK))
        return self._made("halves", cos, sin)

    def _made(self, layout: str, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        for name, table in ((f"cos_{layout}", cos), (f"sin_{layout}", sin)):
            if name not in self._parameters:
                self.register_parameter(name, nn.Parameter(table.clone(), requires_grad=False))
        return self.get_parameter(f"cos_{layout}"), self.get_parameter(f"sin_{layout}")


class NeighbourRotation(nn.Module):
    """x (..., N, K) -> the same, token n turned by its angles; pairs are neighbours."""

    def __init__(self, tables: RotaryTables) -> None:
        super().__init__()
        self.cos, self.sin = tables.neighbours()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.cos + quarter_turn(x) * self.sin


class HalvesRotation(nn.Module):
    """The same for pairs (i, i + K/2)."""

    def __init__(self, tables: RotaryTables) -> None:
        super().__init__()
        self.cos, self.sin = tables.halves()

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        a, b = x[..., :half], x[..., half:]
        return torch.cat((a * self.cos - b * self.sin, b * self.cos + a * self.sin), dim=-1)


Rotation = NeighbourRotation | HalvesRotation
