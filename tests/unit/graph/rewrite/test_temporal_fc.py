"""Output projection and ``fc`` as one product, with and without the queries between them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import temporal_fc


def products(bias_out: bool, bias_fc: bool, dtype: torch.dtype = torch.float64) -> tuple[LinearMap, LinearMap]:
    generator = torch.Generator().manual_seed(1)
    w_o, b_o, w_f, b_f = (torch.randn(s, generator=generator, dtype=dtype) for s in ((6, 8), (8,), (8, 8), (8,)))
    return LinearMap(w_o, b_o if bias_out else None), LinearMap(w_f, b_f if bias_fc else None)


@pytest.mark.parametrize("bias_fc", [True, False])
@pytest.mark.parametrize("bias_out", [True, False])
def test_one_product_is_both(bias_out: bool, bias_fc: bool) -> None:
    projection, fc = products(bias_out, bias_fc)
    x = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    folded = temporal_fc.folded(projection, fc)
    assert torch.allclose(folded(x), fc(projection(x)), rtol=1e-12, atol=1e-13)
    assert (folded.bias is not None) is (bias_out or bias_fc)
    assert not torch.allclose(folded(x), projection(x), rtol=1e-2)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mechanism", ["fastformer", "performer", "regular"])
def test_the_branch_gives_what_it_gave(model_of: Callable[..., FastTimeSformer], mechanism: str, bias: bool) -> None:
    """Additive attention adds its queries before ``fc``: they go through it as well."""
    model = model_of(attn_mechanism=mechanism, qkv_bias=bias)
    plain, folded = (
        ExportForm(model, rewrites).double().get_submodule("blocks.0.temporal")
        for rewrites in (frozenset(), frozenset({temporal_fc.REWRITE.name}))
    )
    x_BSD = torch.randn(2, 3 * 6, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        # The folded weights were rounded to the model's float32.
        assert torch.allclose(folded(x_BSD), plain(x_BSD), rtol=1e-5, atol=1e-6)
    names = [name for name, _ in folded.named_parameters()]
    assert not any(name.startswith("fc.") for name in names)
    assert any(name.startswith("fc.") for name, _ in plain.named_parameters())


def test_weights_are_multiplied_in_float64() -> None:
    """In float32 the product is the float64 one, rounded once."""
    projection, fc = products(True, True, torch.float32)
    folded = temporal_fc.folded(projection, fc)
    assert folded.weight.dtype == torch.float32
    assert torch.equal(folded.weight, (projection.weight.double() @ fc.weight.double()).float())
    assert folded.bias is not None
    assert projection.bias is not None
    assert fc.bias is not None
    exact = projection.bias.double() @ fc.weight.double() + fc.bias.double()
    assert torch.equal(folded.bias, exact.float())
