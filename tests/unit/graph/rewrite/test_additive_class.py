"""The class token's mean over frames, of the pooled keys instead of the results."""

from __future__ import annotations

from collections.abc import Callable

import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import additive_class, regrouping

FRAMES, TOKENS, WIDTH = 3, 7, 64


def double(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_mean_of_products_is_the_product_of_the_mean() -> None:
    """Values and queries are the same in all frames, keys are not."""
    keys, values, w_o, queries = double(FRAMES, 8, seed=1), double(8, seed=2), double(8, 6, seed=3), double(6, seed=4)
    late = torch.stack([(key * values) @ w_o + queries for key in keys]).mean(dim=0)
    early = (keys.mean(dim=0) * values) @ w_o + queries
    assert torch.allclose(early, late, rtol=1e-12, atol=1e-13)
    # With values of their own the frames' mean is another.
    apart = double(FRAMES, 8, seed=5)
    assert not torch.allclose((keys * apart).mean(dim=0), keys.mean(dim=0) * apart.mean(dim=0), rtol=1e-2)


def test_the_branch_gives_what_it_gave(model_of: Callable[..., FastTimeSformer]) -> None:
    """On frames whose class tokens are equal, as they are in divided blocks."""
    model = model_of(attn_mechanism="fastformer", qkv_bias=True)
    plain, rewritten = (
        ExportForm(model, rewrites).double().get_submodule("blocks.0.spatial")
        for rewrites in (
            frozenset({regrouping.REWRITE.name}),
            frozenset({regrouping.REWRITE.name, additive_class.REWRITE.name}),
        )
    )
    # The frames of one position lie side by side: the class token's copies are the first rows.
    x_BSD = double(2, TOKENS * FRAMES, WIDTH, seed=6)
    x_BSD[:, :FRAMES] = x_BSD[:, :1]
    with torch.no_grad():
        expected, got = plain(x_BSD), rewritten(x_BSD)
        assert got.shape == (2, 1 + FRAMES * (TOKENS - 1), WIDTH)
        assert torch.allclose(got, expected, rtol=1e-11, atol=1e-12)
        # It is another computation: where class tokens differ, so do the results.
        x_BSD[:, 1] = double(2, WIDTH, seed=7)
        expected, got = plain(x_BSD), rewritten(x_BSD)
    assert not torch.allclose(got[:, 0], expected[:, 0], rtol=1e-2)
    assert torch.allclose(got[:, 1:], expected[:, 1:], rtol=1e-11, atol=1e-12)
