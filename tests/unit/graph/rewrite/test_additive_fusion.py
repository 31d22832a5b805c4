"""A pooled token as attention with one query."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import additive_fusion


def double(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_pool_is_an_attention() -> None:
    w, y = double(8, seed=1), double(5, 8, seed=2)
    shares = torch.exp(y @ w) / torch.exp(y @ w).sum()
    pooled = sum(share * token for share, token in zip(shares, y, strict=True))
    assert torch.allclose(torch.softmax(w[None] @ y.mT, dim=-1) @ y, pooled[None], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", ["divided", "joint", "space"])
def test_the_model_gives_what_it_gave(model_of: Callable[..., FastTimeSformer], kind: str) -> None:
    model = model_of(attn_mechanism="fastformer", attn_type=kind, qkv_bias=True)
    plain, rewritten = (
        ExportForm(model, rewrites).double() for rewrites in (frozenset(), frozenset({additive_fusion.REWRITE.name}))
    )
    clip = double(2, 3, 3, 32, 48, seed=3)
    with torch.no_grad():
        assert torch.allclose(rewritten(clip), plain(clip), rtol=1e-11, atol=1e-12)


def test_it_is_what_joins_the_product_and_the_softmax(model_of: Callable[..., FastTimeSformer]) -> None:
    """Without it there is no product but those with weights."""
    model = model_of(attn_mechanism="fastformer")
    products = []
    for rewrites in (frozenset(), frozenset({additive_fusion.REWRITE.name})):
        form = ExportForm(model, rewrites)
        with torch.no_grad(), mock.patch("torch.matmul", wraps=torch.matmul) as matmul:
            form(torch.zeros(1, 3, 3, 32, 48))
        products.append(matmul.call_count)
    # Two poolings of two products each, in two branches of two blocks.
    assert products[1] - products[0] == 2 * 2 * 2 * 2
