"""Additive attention that turns the weight back instead of turning every token."""

from __future__ import annotations

import pytest
import torch

from fast_timesformer.attention import FastAttention
from fast_timesformer.rotary import rotate
from ftsf_export.graph.forms.additive import AdditiveCore, AdditivePool
from ftsf_export.graph.forms.grid import Along, Grid
from ftsf_export.graph.forms.rotation import RotaryTables

FRAMES, TOKENS, HEADS, WIDTH = 3, 5, 2, 8


def double(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid_and_angles(along: Along) -> tuple[Grid, tuple[torch.Tensor, torch.Tensor], int]:
    """The grid, (cos, sin) of the tokens that are turned, and how many before them are not."""
    grid = Grid(FRAMES, TOKENS, HEADS, WIDTH, along)
    prefix = 0 if along == "time" else 1
    angles = double(grid.attending - prefix, WIDTH // 2, seed=9).repeat_interleave(2, dim=-1)
    return grid, (angles.cos(), angles.sin()), prefix


def attending(x_BFTHK: torch.Tensor, grid: Grid) -> torch.Tensor:
    """(B, F, T, H, K) with the attending axis moved beside K."""
    return x_BFTHK.movedim(grid.axis, -2)


@pytest.mark.parametrize("along", ["time", "space"])
def test_a_turned_back_weight_scores_unturned_tokens(along: Along) -> None:
    """w . (R_n x) = (R_n^T w) . x."""
    grid, tables, prefix = grid_and_angles(along)
    x, w = double(2, FRAMES, TOKENS, HEADS, WIDTH, seed=1), double(HEADS, WIDTH, seed=2)
    with torch.no_grad():
        turned_back = AdditivePool(grid, RotaryTables(*tables, prefix=prefix)).turned_back(w)
    got = attending((x * turned_back).sum(dim=-1, keepdim=True), grid)[..., 0]
    heads_beside = rotate(attending(x, grid), tables, prefix)
    expected = (heads_beside * w[:, None]).sum(dim=-1)
    assert torch.allclose(got, expected, rtol=1e-12, atol=1e-13)
    assert not torch.allclose(got, (attending(x, grid) * w[:, None]).sum(dim=-1), rtol=1e-2)


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("along", ["time", "space"])
def test_the_core_is_the_models_mixing(along: Along, turned: bool) -> None:
    """Every group of attending tokens against ``FastAttention.mix`` on turned queries and keys."""
    grid, tables, prefix = grid_and_angles(along)
    attention = FastAttention(HEADS * WIDTH, dim_head=WIDTH).double()
    attention.w_q.data, attention.w_k.data = double(HEADS, WIDTH, seed=5), double(HEADS, WIDTH, seed=6)
    q, k, v = (double(2, FRAMES, TOKENS, HEADS, WIDTH, seed=seed) for seed in (1, 2, 3))
    core = AdditiveCore(
        grid,
        attention.w_q * attention.scale,
        attention.w_k * attention.scale,
        RotaryTables(*tables, prefix=prefix) if turned else None,
    )
    groups = [attending(x, grid).flatten(0, 1) for x in (q, k, v)]
    if turned:
        groups[:2] = [rotate(x, tables, prefix) for x in groups[:2]]
    with torch.no_grad():
        got = attending(core(q, k, v), grid).flatten(0, 1)
        assert torch.allclose(got, attention.mix(*groups), rtol=1e-11, atol=1e-12)
        other = attention.mix(*[attending(x, grid).flatten(0, 1) for x in (k, q, v)])
    assert not torch.allclose(got, other, rtol=1e-2)
