"""Gain and bias of a norm in the weights behind it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import ALL, norm_affine

REWRITES = frozenset({norm_affine.REWRITE.name})


def pair(*, bias: bool) -> tuple[nn.LayerNorm, nn.Linear]:
    torch.manual_seed(3)
    norm, linear = nn.LayerNorm(6).double(), nn.Linear(6, 5, bias=bias).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, linear


@pytest.mark.parametrize("rewrites", [frozenset(), REWRITES])
@pytest.mark.parametrize("bias", [True, False])
def test_norm_and_product_give_what_they_gave(bias: bool, rewrites: frozenset[str]) -> None:
    norm, linear = pair(bias=bias)
    x = torch.randn(4, 6, dtype=torch.float64)
    normed, product = norm_affine.entered(norm, linear, folded=bool(rewrites))
    with torch.no_grad():
        expected = linear(norm(x))
        assert torch.allclose(product(normed(x)), expected, rtol=1e-12, atol=1e-13)
        # Gain and bias both matter.
        for parameter in (norm.weight, norm.bias):
            parameter.mul_(1.1)
            assert not torch.allclose(product(normed(x)), linear(norm(x)), rtol=1e-3)
            parameter.div_(1.1)
    assert (normed.bias is None) == (bias and bool(rewrites))


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("mechanism", ["fastformer", "performer", "regular"])
def test_which_norms_lose_their_own(model_of: Callable[..., FastTimeSformer], mechanism: str, qkv_bias: bool) -> None:
    """Those before a product with a bias: the MLP's always, the attentions' with ``qkv_bias``, the last one never."""
    form = ExportForm(model_of(attn_mechanism=mechanism, qkv_bias=qkv_bias), ALL)
    affine = {name for name, _ in form.named_parameters() if name.endswith("norm.bias")}
    attentions = {f"blocks.{block}.{branch}.norm.bias" for block in (0, 1) for branch in ("temporal", "spatial")}
    assert affine == {"norm.bias"} | (set() if qkv_bias else attentions)
