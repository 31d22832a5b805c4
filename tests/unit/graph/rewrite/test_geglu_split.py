"""(x W_a) * gelu(x W_g) is the packed product cut in two."""

from __future__ import annotations

import torch
from torch.nn import functional

from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.rewrite import geglu_split


def test_two_products_are_the_packed_one() -> None:
    generator = torch.Generator().manual_seed(1)
    packed, bias, x = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((6, 10), (10,), (3, 6)))
    value, gate = geglu_split.split(LinearMap(packed, bias))
    assert value.weight.shape == gate.weight.shape == (6, 5)
    a, g = (x @ packed + bias).chunk(2, dim=-1)
    expected = a * functional.gelu(g)
    assert torch.allclose(value(x) * functional.gelu(gate(x)), expected, rtol=1e-12, atol=1e-13)
    assert not torch.allclose(gate(x) * functional.gelu(value(x)), expected, rtol=1e-2)


def test_without_bias() -> None:
    value, gate = geglu_split.split(LinearMap(torch.arange(12.0).reshape(2, 6)))
    assert value.bias is gate.bias is None
    assert torch.equal(gate.weight, torch.tensor([[3.0, 4, 5], [9, 10, 11]]))
