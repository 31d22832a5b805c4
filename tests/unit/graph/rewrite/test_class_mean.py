"""FAVOR+ by features: the class token's mean over frames before the output projection."""

from __future__ import annotations

from collections.abc import Callable

import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.forms.heads import HeadsForm
from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import class_mean


def double(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_mean_goes_before_the_product() -> None:
    to_out = LinearMap(double(6, 4, seed=1), double(4, seed=2))
    u_FX = double(3, 6, seed=3)
    assert torch.allclose(to_out(u_FX.mean(dim=0)), to_out(u_FX).mean(dim=0), rtol=1e-12, atol=1e-13)
    # Of a sum it would not hold: the bias is added once.
    assert not torch.allclose(to_out(u_FX.sum(dim=0)), to_out(u_FX).sum(dim=0), rtol=1e-2)


def test_the_branch_gives_what_it_gave(model_of: Callable[..., FastTimeSformer]) -> None:
    model = model_of(attn_mechanism="performer", qkv_bias=True)
    plain, rewritten = (
        ExportForm(model, rewrites).double().get_submodule("blocks.0.spatial")
        for rewrites in (frozenset(), frozenset({class_mean.REWRITE.name}))
    )
    frames, tokens = model.config.frames, 1 + model.config.num_patches
    x_BSD = double(2, tokens * frames, model.config.dim, seed=6)
    rows = []
    for branch in (plain, rewritten):
        attn = branch.get_submodule("attn")
        assert isinstance(attn, HeadsForm)
        attn.to_out.register_forward_pre_hook(lambda _module, inputs: rows.append(inputs[0].shape[1]))
    with torch.no_grad():
        expected, got = plain(x_BSD), rewritten(x_BSD)
    assert torch.allclose(got, expected, rtol=1e-11, atol=1e-12)
    assert rows == [frames * tokens, 1 + frames * (tokens - 1)]
