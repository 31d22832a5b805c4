"""Rotary positions (Su et al. 2021, RoFormer, section 3.2) as the kernels take them: positions and frequencies.

Letters: N tokens, A axes (time, row, column), K head width, I = K / 2 pairs.

Tables of cosines and sines are as large as a head's queries. Positions (N, A) and frequencies (A, I) are not, and every
table of the model is a function of them: the turn of pair i of token n is sum_a positions[n, a] * frequencies[a, i],
in whole turns (2 pi radians), whose fraction is exact in floating point. A token at the origin, such as the class
token, is not turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ftsf_plugins.stream import Floats

Pairs = Literal["neighbours", "halves"]


@dataclass(frozen=True)
class Rotation:
    """A rotation. Raises ValueError where the shapes do not fit."""

    positions: Floats  #: (N, A), float32.
    frequencies: Floats  #: (A, I), float32, in turns a unit of position.
    #: Which elements turn together: "neighbours" (2i, 2i + 1) or those of the two "halves" (i, i + K / 2).
    pairs: Pairs = "neighbours"

    def __post_init__(self) -> None:
        at, by = self.positions.shape, self.frequencies.shape
        if len(at) != 2 or len(by) != 2 or at[1] != by[0]:
            raise ValueError(f"rotary: expected positions (N, A) and frequencies (A, I), got shapes {at} and {by}")
        if self.pairs not in ("neighbours", "halves"):
            raise ValueError(f"pairs: expected 'neighbours' or 'halves', got {self.pairs!r}")

    @property
    def axes(self) -> int:
        """A."""
        return int(self.frequencies.shape[0])

    def turned(self, x: Floats) -> Floats:
        """(..., N, K) float64 -> the same, each token turned: (a, b) -> (a cos - b sin, b cos + a sin)."""
        angles_NI = 2 * np.pi * (self.positions.astype(np.float64) @ self.frequencies.astype(np.float64))
        cos, sin = np.cos(angles_NI), np.sin(angles_NI)
        first, second = self._members(x)
        turned = np.empty_like(x)
        turned_first, turned_second = self._members(turned)
        turned_first[...] = first * cos - second * sin
        turned_second[...] = second * cos + first * sin
        return turned

    def _members(self, x: Floats) -> tuple[Floats, Floats]:
        """Views of the first and the second members of all pairs, (..., K / 2) each."""
        if self.pairs == "neighbours":
            return x[..., 0::2], x[..., 1::2]
        half = x.shape[-1] // 2
        return x[..., :half], x[..., half:]
