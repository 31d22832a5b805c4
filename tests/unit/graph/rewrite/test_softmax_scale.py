"""softmax(scale q k^T) with the scale in the queries' weights."""

from __future__ import annotations

import pytest
import torch

from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.forms.regular import RegularCore
from ftsf_export.graph.rewrite import softmax_scale

SCALE = 0.37


@pytest.mark.parametrize("bias", [True, False])
def test_scaled_queries_give_the_scaled_scores(bias: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    weight, added, x = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((6, 12), (12,), (5, 6)))
    packed = LinearMap(weight, added if bias else None)
    folded = softmax_scale.folded_qkv(packed, SCALE)
    q, k, v = packed(x).chunk(3, dim=-1)
    new_q, new_k, new_v = folded(x).chunk(3, dim=-1)
    assert torch.equal(new_k, k)
    assert torch.equal(new_v, v)
    expected = torch.softmax(SCALE * q @ k.mT, dim=-1) @ v
    assert torch.allclose(RegularCore(SCALE, None)(q, k, v), expected, rtol=1e-12, atol=1e-13)
    assert torch.allclose(RegularCore(None, None)(new_q, new_k, new_v), expected, rtol=1e-12, atol=1e-13)
    assert not torch.allclose(RegularCore(None, None)(q, k, v), expected, rtol=1e-2)
