"""One query a head: the values' product after the mixture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import ALL, class_tail, class_values, favor_order


def double(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("biased", [True, False])
def test_the_mixture_goes_before_the_product(biased: bool) -> None:
    heads, width, tokens = 3, 4, 7
    to_v = LinearMap(double(10, heads * width, seed=1), double(heads * width, seed=2) if biased else None)
    h, weights = double(2, tokens, 10, seed=3), double(2, heads, tokens, seed=4).softmax(dim=-1)
    values = to_v(h).reshape(2, tokens, heads, width)
    late = torch.einsum("bhn,bnhk->bhk", weights, values)
    apply = class_values.HeadValues(to_v, heads)
    early = apply((weights @ h)[:, None])[:, 0]
    assert torch.allclose(early, late, rtol=1e-12, atol=1e-13)
    if biased:
        # The bias goes through because the weights sum to one.
        assert not torch.allclose(apply((2 * weights @ h)[:, None])[:, 0], 2 * late, rtol=1e-2)


@pytest.mark.parametrize("kind", ["divided", "joint", "space"])
def test_the_logits_are_what_they_were(model_of: Callable[..., FastTimeSformer], kind: str) -> None:
    model = model_of(attn_mechanism="performer", attn_type=kind, qkv_bias=True).double()
    tail = frozenset({class_tail.REWRITE.name, favor_order.REWRITE.name})
    config = model.config
    clip = double(2, config.frames, config.channels, config.height, config.width, seed=5)
    forms = [ExportForm(model, rewrites) for rewrites in (tail, tail | {class_values.REWRITE.name})]
    with torch.no_grad():
        plain, rewritten = (form(clip) for form in forms)
    assert torch.allclose(rewritten, plain, rtol=1e-11, atol=1e-12)
    assert [any("values" in name for name, _ in form.named_parameters()) for form in forms] == [False, True]


def test_softmax_attention_stays_one_kernel(model_of: Callable[..., FastTimeSformer]) -> None:
    form = ExportForm(model_of(attn_mechanism="regular"), ALL)
    assert not any("values" in name for name, _ in form.named_parameters())
