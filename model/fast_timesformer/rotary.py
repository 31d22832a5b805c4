"""Rotary positions (Su et al. 2021, RoFormer, section 3.2) over time, over space and over both.

Letters: F frames, P patches a frame, N tokens (F * P, no class token), K head width.

Elements 2i and 2i + 1 of a head are one pair and turn by one angle. A turn by a, then a scalar product with a turn
by b, depends on a - b alone: this is what makes scores depend on relative position.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fast_timesformer.config import TimeSformerConfig

TIME_BASE = 10_000.0
# Spatial angles at the edge of a frame (coordinate 1) run from 1 to 5 half turns. Whole half turns do not tell one
# edge from the other; the frequencies between do, so that a head needs at least three for each axis.
SPACE_FIRST, SPACE_LAST = 1.0, 5.0

RotaryTables = tuple[Tensor, Tensor]


def refuse_tables(**given: object) -> None:
    """Raises ValueError for any that is not None: tables as FastTimeSformer 0.2.2 makes them for its layers."""
    for name, tables in given.items():
        if tables is not None:
            raise ValueError(
                f"{name}: expected None: the (sin, cos) of FastTimeSformer 0.2.2 turn a pair by two angles; "
                "an attention takes rotary=(cos, sin) of fast_timesformer.rotary.Rotary, a block makes its own"
            )


class Rotary(nn.Module):
    """Static tables (cos, sin), each (n, K), for a grid of frames x rows x columns.

    They are constants: no parameters, and buffers that no state dict holds. They are computed in float64 and
    computed anew whenever the module changes its type or device, so that a model in float64 has tables that are
    exact in float64, and one that went to half and back lost nothing.

    Args:
        frames: F, frames of the grid.
        rows: rows of patches in a frame.
        columns: patches in a row.
        dim_head: K; a multiple of 4, of 8 for the joint tables.
        joint: whether ``joint_NK`` is there as well.
    """

    time_cos: Tensor
    time_sin: Tensor
    space_cos: Tensor
    space_sin: Tensor
    joint_cos: Tensor
    joint_sin: Tensor

    def __init__(self, frames: int, rows: int, columns: int, dim_head: int, *, joint: bool = False) -> None:
        super().__init__()
        multiple = 8 if joint else 4
        if dim_head % multiple:
            raise ValueError(f"dim_head: expected a multiple of {multiple}, got {dim_head}")
        self.frames, self.rows, self.columns, self.dim_head, self.joint = frames, rows, columns, dim_head, joint
        for name, table in self._tables().items():
            self.register_buffer(name, table.to(torch.get_default_dtype()), persistent=False)

    def time_FK(self) -> RotaryTables:  # noqa: N802 - the letters of the shape
        """Tables over the frame index: (F, K) each."""
        return self.time_cos, self.time_sin

    def space_PK(self) -> RotaryTables:  # noqa: N802 - the letters of the shape
        """Tables over the patches of a frame, row by row: (P, K) each; the row turns the first half of K."""
        return self.space_cos, self.space_sin

    def joint_NK(self) -> RotaryTables:  # noqa: N802 - the letters of the shape
        """Tables over all patches of a clip, frame by frame: (F * P, K) each; time turns the first half of K.

        Raises ValueError if the module was made without ``joint=True``.
        """
        if not self.joint:
            raise ValueError("joint tables were not asked for; make Rotary with joint=True")
        return self.joint_cos, self.joint_sin

    @classmethod
    def from_config(cls, config: TimeSformerConfig) -> Rotary | None:
        """The tables of a model, or None where it has learned positions."""
        if not config.rotary_emb:
            return None
        joint = config.attn_type == "joint"
        return cls(config.frames, config.rows, config.columns, config.dim_head, joint=joint)

    def extra_repr(self) -> str:
        return f"frames={self.frames}, rows={self.rows}, columns={self.columns}, dim_head={self.dim_head}"

    def _tables(self) -> dict[str, Tensor]:
        """Every table in float64."""
        angles = {
            "time": time_angles(self.frames, self.dim_head),
            "space": space_angles(self.rows, self.columns, self.dim_head),
        }
        if self.joint:
            half = self.dim_head // 2
            time = time_angles(self.frames, half).repeat_interleave(self.rows * self.columns, dim=0)
            space = space_angles(self.rows, self.columns, half).repeat(self.frames, 1)
            angles["joint"] = torch.cat((time, space), dim=-1)
        # One angle a pair becomes two equal neighbours.
        spread = {name: angle.repeat_interleave(2, dim=-1) for name, angle in angles.items()}
        return {
            f"{name}_{part}": turn(angle)
            for name, angle in spread.items()
            for part, turn in (("cos", torch.cos), ("sin", torch.sin))
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        module = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch types it so
        for name, table in self._tables().items():
            buffer = self.get_buffer(name)
            setattr(self, name, table.to(dtype=buffer.dtype, device=buffer.device))
        return module


def time_angles(frames: int, width: int) -> Tensor:
    """Angles (F, width / 2) in radians, float64: frame f turns pair i by f * 10000^(-2i / width)."""
    pair = torch.arange(0, width, 2, dtype=torch.float64)
    return torch.outer(torch.arange(frames, dtype=torch.float64), TIME_BASE ** (-pair / width))


def space_angles(rows: int, columns: int, width: int) -> Tensor:
    """Angles (P, width / 2) in radians, float64: the first width / 4 pairs by the row, the others by the column."""
    exponents = (math.log10(SPACE_FIRST), math.log10(SPACE_LAST))
    frequencies = torch.logspace(*exponents, width // 4, dtype=torch.float64) * math.pi
    row = torch.outer(torch.linspace(-1, 1, rows, dtype=torch.float64), frequencies)
    column = torch.outer(torch.linspace(-1, 1, columns, dtype=torch.float64), frequencies)
    return torch.cat((row.repeat_interleave(columns, dim=0), column.repeat(rows, 1)), dim=-1)


def rotate(x: Tensor, tables: RotaryTables, num_prefix: int = 0) -> Tensor:
    """Turn the pairs of every token but the first ``num_prefix``.

    Args:
        x: (..., num_prefix + n, K).
        tables: cos and sin, (n, K) each.
        num_prefix: tokens at the front that have no position (the class token).

    Raises ValueError where the tokens and the tables do not fit.
    """
    cos, sin = tables
    if x.shape[-2] != num_prefix + cos.shape[0] or x.shape[-1] != cos.shape[-1]:
        raise ValueError(
            f"rotary tables {tuple(cos.shape)} with num_prefix {num_prefix} need tokens of shape "
            f"(..., {num_prefix + cos.shape[0]}, {cos.shape[-1]}), got {tuple(x.shape)}"
        )
    prefix, body = x[..., :num_prefix, :], x[..., num_prefix:, :]
    # (y[2i], y[2i+1]) = (-x[2i+1], x[2i]): a quarter turn.
    quarter = torch.stack((-body[..., 1::2], body[..., 0::2]), dim=-1).flatten(-2)
    turned = body * cos.to(x.dtype) + quarter * sin.to(x.dtype)
    return torch.cat((prefix, turned), dim=-2) if num_prefix else turned
