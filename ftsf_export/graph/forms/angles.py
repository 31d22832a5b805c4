"""The model's rotary tables as positions and frequencies: what a kernel computes cosines and sines from.

Letters: N tokens, A axes (time, row, column), K head width, I = K / 2 pairs. Pair i of token n turns by
sum_a positions[n, a] * frequencies[a, i] whole turns; tables would be as large as a head's queries.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fast_timesformer.rotary import SPACE_FIRST, SPACE_LAST, TIME_BASE, Rotary

PositionsAndFrequencies = tuple[Tensor, Tensor]


def time_angles(rotary: Rotary) -> PositionsAndFrequencies:
    """Positions (F, 1), the frame indices, and frequencies (1, I), float64."""
    return _frames(rotary)[:, None], _time_frequencies(rotary.dim_head)[None]


def space_angles(rotary: Rotary) -> PositionsAndFrequencies:
    """Positions (P, 2), row and column in -1..1, and frequencies (2, I): the row turns the first half of the pairs."""
    return _places(rotary), _apart(*_space_frequencies(rotary.dim_head))


def joint_angles(rotary: Rotary) -> PositionsAndFrequencies:
    """Positions (F * P, 3) and frequencies (3, I): time turns the first half of the pairs, space the second."""
    places = _places(rotary)
    frames = _frames(rotary).repeat_interleave(len(places))
    positions = torch.cat((frames[:, None], places.repeat(rotary.frames, 1)), dim=1)
    half = rotary.dim_head // 2
    return positions, _apart(_time_frequencies(half), *_space_frequencies(half))


def with_prefix(angles: PositionsAndFrequencies, prefix: int) -> PositionsAndFrequencies:
    """``prefix`` tokens before the others, the class token, at the origin: not turned."""
    positions, frequencies = angles
    return torch.cat((positions.new_zeros(prefix, positions.shape[1]), positions)), frequencies


def _apart(*frequencies: Tensor) -> Tensor:
    """One row an axis, each with pairs of its own: zeros elsewhere."""
    rows: Tensor = torch.block_diag(*frequencies)  # type: ignore[no-untyped-call]  # torch types it so
    return rows


def _frames(rotary: Rotary) -> Tensor:
    return torch.arange(rotary.frames, dtype=torch.float64)


def _places(rotary: Rotary) -> Tensor:
    """(P, 2), frame-major as the patches: row by row."""
    axes = (torch.linspace(-1, 1, size, dtype=torch.float64) for size in (rotary.rows, rotary.columns))
    return torch.cartesian_prod(*axes)


def _time_frequencies(width: int) -> Tensor:
    return TIME_BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width) / (2 * math.pi)


def _space_frequencies(width: int) -> tuple[Tensor, Tensor]:
    """Frequencies of the row and of the column, (width / 4,) each, in half turns."""
    frequencies = torch.logspace(math.log10(SPACE_FIRST), math.log10(SPACE_LAST), width // 4, dtype=torch.float64) / 2
    return frequencies, frequencies
