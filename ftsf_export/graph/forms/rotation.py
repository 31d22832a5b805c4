"""Rotary positions with static tables. A pair is two neighbours (2i, 2i + 1), as in the model, or elements of the two
halves (i, i + K/2) where the weights have been permuted (``graph.rewrite.rotation_halves``)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ftsf_export.graph.forms.angles import PositionsAndFrequencies, with_prefix
from ftsf_export.graph.rewrite import rotation_halves


def quarter_turn(x: Tensor) -> Tensor:
    """J x: every pair of neighbours (a, b) -> (-b, a). A rotation by t is cos t x + sin t J x."""
    pairs = x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2)
    return torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).reshape(x.shape)


class RotaryTables:
    """cos and sin of every token that attends, (N, K) each; both members of a pair hold one value.

    Each attention asks for the tables in the layout that it needs, and each layout is made once: all blocks share them.
    The graph never computes on a table.

    Args:
        cos: of the tokens that are turned.
        sin: of the same tokens.
        prefix: how many tokens, the class token, come before the others and are not turned.
        angles: what the tables are made of, for attentions that make them themselves.
    """

    def __init__(self, cos: Tensor, sin: Tensor, prefix: int, angles: PositionsAndFrequencies | None = None) -> None:
        self._angles = None if angles is None else with_prefix(angles, prefix)
        still = cos.new_ones(prefix, cos.shape[-1])
        self._cos_NK = torch.cat((still, cos.detach()))
        self._sin_NK = torch.cat((torch.zeros_like(still), sin.detach()))
        self._made: dict[str, nn.Parameter] = {}

    def neighbours(self, *, in_place: bool) -> tuple[nn.Parameter, nn.Parameter]:
        """Tables for pairs of neighbours: (N, K), or (N, 1, 1, K) for tokens ``in_place``, (B, N, groups, H, K)."""
        return self._layout("neighbours", self._cos_NK, self._sin_NK, in_place=in_place)

    def halves(self, *, in_place: bool) -> tuple[nn.Parameter, nn.Parameter]:
        """One value a pair: (N, K / 2), or (N, 1, 1, K / 2)."""
        width = self._cos_NK.shape[-1] // 2
        cos, sin = (rotation_halves.permuted(t)[..., :width] for t in (self._cos_NK, self._sin_NK))
        return self._layout("halves", cos, sin, in_place=in_place)

    def positions_and_frequencies(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Positions (N, A) and frequencies (A, K / 2). Raises ValueError where they were not given."""
        if self._angles is None:
            raise ValueError("rotary tables: made without the positions and frequencies that a plugin's kernel needs")
        positions, frequencies = (t.to(self._cos_NK) for t in self._angles)
        return self._once("positions", positions), self._once("frequencies", frequencies)

    def shared(self) -> SharedTables:
        """Every layout that was asked for."""
        return SharedTables(self._made)

    def _layout(self, name: str, cos: Tensor, sin: Tensor, *, in_place: bool) -> tuple[nn.Parameter, nn.Parameter]:
        if in_place:
            name, cos, sin = f"{name}_in_place", cos[:, None, None], sin[:, None, None]
        return self._once(f"cos_{name}", cos), self._once(f"sin_{name}", sin)

    def _once(self, name: str, table: Tensor) -> nn.Parameter:
        if name not in self._made:
            self._made[name] = nn.Parameter(table.clone(), requires_grad=False)
        return self._made[name]


class SharedTables(nn.Module):
    """Tables under their own names: what several attentions hold is known by its name here."""

    def __init__(self, tables: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        for name, table in tables.items():
            self.register_parameter(name, table)


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
