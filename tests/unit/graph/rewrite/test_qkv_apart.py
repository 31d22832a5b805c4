"""Three products are the packed one cut in three."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import ALL, qkv_apart


@pytest.mark.parametrize("bias", [True, False])
def test_three_products_are_the_packed_one(bias: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    weight, added, x = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((6, 12), (12,), (3, 6)))
    packed = LinearMap(weight, added if bias else None)
    parts = qkv_apart.apart(packed)
    assert [tuple(part.weight.shape) for part in parts] == [(6, 4)] * 3
    assert all((part.bias is not None) is bias for part in parts)
    assert torch.allclose(torch.cat([part(x) for part in parts], dim=-1), packed(x), rtol=1e-13, atol=1e-14)
    # Queries, keys, values in this order.
    assert torch.equal(parts[0].weight, weight[:, :4])
    assert torch.equal(parts[2].weight, weight[:, 8:])


def test_keys_and_values_side_by_side_again() -> None:
    packed = LinearMap(torch.randn(6, 12), torch.randn(12))
    _, k, v = qkv_apart.apart(packed)
    both = LinearMap.side_by_side(k, v)
    assert torch.equal(both.weight, packed.weight[:, 4:])
    assert packed.bias is not None
    assert both.bias is not None
    assert torch.equal(both.bias, packed.bias[4:])


@pytest.mark.parametrize(("mechanism", "several"), [("regular", False), ("fastformer", True), ("performer", True)])
def test_softmax_attention_of_several_clips_stays_packed(
    model_of: Callable[..., FastTimeSformer], mechanism: str, several: bool
) -> None:
    """Its values would be copied all the same; the logits do not tell."""
    model = model_of(attn_mechanism=mechanism, qkv_bias=True).double()
    config = model.config
    shape = (2, config.frames, config.channels, config.height, config.width)
    clip = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    forms = [ExportForm(model, ALL, one_clip=one_clip) for one_clip in (True, False)]
    apart = [sum("blocks.0.temporal.attn.to_v." in name for name, _ in form.named_parameters()) for form in forms]
    assert [count > 0 for count in apart] == [True, several]
    with torch.no_grad():
        expected = model.eval()(clip)
        for form in forms:
            assert torch.allclose(form(clip), expected, rtol=1e-10, atol=1e-12)
