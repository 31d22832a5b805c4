"""Weights that nobody trained are known by their values."""

from __future__ import annotations

import pytest
import torch

from fast_timesformer.initial import as_drawn
from fast_timesformer.model import FastTimeSformer


def fresh(attn: str = "regular", **fields: object) -> FastTimeSformer:
    return FastTimeSformer(2, 3, 32, 32, 10, dim=64, depth=1, dim_head=32, attn_mechanism=attn, **fields)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("attn", ["fastformer", "performer", "regular"])
def test_fresh_weights_are_as_drawn_in_every_mechanism(attn: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert as_drawn(fresh(attn))
    assert as_drawn(fresh(attn, rotary_emb=False, learned_emb="factored", qkv_bias=True, mlp_act="gelu"))


def test_one_step_of_training_shows() -> None:
    model = fresh()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model(torch.randn(1, 2, 3, 32, 32)).sum().backward()
    optimizer.step()
    assert not as_drawn(model)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cls_token", lambda weight: weight[:1].fill_(50)),
        ("patch_embed.bias", lambda weight: weight[:1].fill_(50)),
        ("patch_embed.weight", lambda weight: weight[:1].mul_(100)),
        ("blocks.0.mlp.fc2.weight", lambda weight: weight.mul_(2)),
        ("blocks.0.spatial.norm.weight", lambda weight: weight[:1].mul_(1.001)),
        ("head.weight", lambda weight: weight.zero_()),
    ],
)
def test_a_weight_of_somebodys_own_shows(name: str, change: object) -> None:
    model = fresh()
    with torch.no_grad():
        change(dict(model.named_parameters())[name])
    assert not as_drawn(model)
