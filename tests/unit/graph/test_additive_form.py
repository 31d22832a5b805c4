"""Additive attention on the flat stream is the model's module on every group of tokens."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from fast_timesformer.attention import FastAttention
from ftsf_export.graph.forms.attention import AttentionParts, attention_form, entered
from ftsf_export.graph.forms.choices import Site, choices_for
from ftsf_export.graph.forms.grid import Along, Grid
from ftsf_export.graph.forms.rotation import RotaryTables
from ftsf_export.graph.rewrite import ALL
from ftsf_export.mechanisms import mechanism_named

FRAMES, TOKENS, HEADS, WIDTH = 3, 5, 2, 8
SETS = {"all": ALL, "none": frozenset(), "additive-fusion": frozenset({"additive-fusion"})}


def double(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("rewrites", SETS)
@pytest.mark.parametrize(("along", "turned"), list(product(("time", "space"), (True, False))))
def test_every_group_of_tokens(along: Along, turned: bool, rewrites: str) -> None:
    grid = Grid(FRAMES, TOKENS, HEADS, WIDTH, along)
    prefix = 0 if along == "time" else 1
    angles = double(grid.attending - prefix, WIDTH // 2, seed=9).repeat_interleave(2, dim=-1)
    tables = (angles.cos(), angles.sin())
    attention = FastAttention(HEADS * WIDTH, dim_head=WIDTH, qkv_bias=True).double()
    for seed, parameter in enumerate(attention.parameters()):
        parameter.data = double(*parameter.shape, seed=20 + seed)
    normed = torch.nn.LayerNorm(HEADS * WIDTH).double()
    site = Site(part="attention", algebra="additive", grid=grid, rotated=turned, qkv_bias=True)
    choices = choices_for(site, SETS[rewrites])
    norm, qkv = entered(normed, attention, site, choices)
    own = RotaryTables(*tables, prefix=prefix) if turned else None
    parts = AttentionParts(attention=attention, qkv=qkv, choices=choices, tables=own)
    form = attention_form(mechanism_named("fastformer"), site, parts)
    norm, form = norm.double(), form.double()
    h_BFTD = double(2, FRAMES, TOKENS, HEADS * WIDTH, seed=1)

    def grouped(x_BFTD: torch.Tensor) -> torch.Tensor:
        return (x_BFTD.transpose(1, 2) if along == "time" else x_BFTD).flatten(0, 1)

    with torch.no_grad():
        got = grouped(form(norm(h_BFTD.flatten(1, 2))).reshape(h_BFTD.shape))
        h_BFTD = normed(h_BFTD)
        expected = attention(grouped(h_BFTD), rotary=tables if turned else None, num_prefix=prefix)
        assert torch.allclose(got, expected, rtol=1e-11, atol=1e-11)
        # The rotation is no formality here.
        assert torch.allclose(got, attention(grouped(h_BFTD)), rtol=1e-3) is not turned
