"""Rotary positions with static tables. A pair is two neighbours (2i, 2i + 1), as in the model, or elements of the two
halves (i, i + K/2) where the weights have been permuted (``graph.rewrite.rotation_halves``)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ftsf_export.graph.forms.turns import Turns, with_prefix
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

    def __init__(self, cos: Tensor, sin: Tensor, prefix: int, turns: Turns | None = None) -> None:
        """``prefix`` tokens, the class token, are put before the others and not turned. ``turns``: what the tables are
        made of, for attentions that make them themselves."""
        super().__init__()
        self._turns = None if turns is None else with_prefix(turns, prefix)
        still = cos.new_ones(prefix, cos.shape[-1])
        self._cos_NK = torch.cat((still, cos.detach()))
        self._sin_NK = torch.cat((torch.zeros_like(still), sin.detach()))

    def neighbours(self, *, in_place: bool) -> tuple[Tensor, Tensor]:
        """For pairs of neighbours: (N, K), or (N, 1, 1, K) for tokens ``in_place``, (B, N, groups, H, K)."""
        return self._layout("neighbours", self._cos_NK, self._sin_NK, in_place=in_place)

    def halves(self, *, in_place: bool) -> tuple[Tensor, Tensor]:
        """One value a pair: (N, K / 2), or (N, 1, 1, K / 2)."""
        width = self._cos_NK.shape[-1] // 2
        cos, sin = (rotation_halves.permuted(t)[..., :width] for t in (self._cos_NK, self._sin_NK))
        return self._layout("halves", cos, sin, in_place=in_place)

    def _layout(self, name: str, cos: Tensor, sin: Tensor, *, in_place: bool) -> tuple[Tensor, Tensor]:
        if in_place:
            name, cos, sin = f"{name}_in_place", cos[:, None, None], sin[:, None, None]
        return self._made(**{f"cos_{name}": cos, f"sin_{name}": sin})

    def turns(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Positions (N, A) and frequencies (A, K / 2). Raises ValueError where they were not given."""
        if self._turns is None:
            raise ValueError("rotary tables: made without the positions and frequencies that a plugin's kernel needs")
        positions, frequencies = (t.to(self._cos_NK) for t in self._turns)
        return self._made(positions=positions, frequencies=frequencies)

    def _made(self, **tables: Tensor) -> tuple[nn.Parameter, nn.Parameter]:
        """The two ``tables`` as parameters of that name, made once."""
        for name, table in tables.items():
            if name not in self._parameters:
                self.register_parameter(name, nn.Parameter(table.clone(), requires_grad=False))
        first, second = (self.get_parameter(name) for name in tables)
        return first, second


class NeighbourRotation(nn.Module):
    """x (..., N, K) -> the same, token n turned by its angles; pairs are neighbours. ``in_place``: (B, N, G, H, K)."""

    def __init__(self, tables: RotaryTables, *, in_place: bool = False) -> None:
        super().__init__()
        self.cos, self.sin = tables.neighbours(in_place=in_place)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.cos + quarter_turn(x) * self.sin


class HalvesRotation(nn.Module):
    """The same for pairs (i, i + K/2)."""

    def __init__(self, tables: RotaryTables, *, in_place: bool = False) -> None:
        super().__init__()
        self.cos, self.sin = tables.halves(in_place=in_place)

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        a, b = x[..., :half], x[..., half:]
        return torch.cat((a * self.cos - b * self.sin, b * self.cos + a * self.sin), dim=-1)


Rotation = NeighbourRotation | HalvesRotation
