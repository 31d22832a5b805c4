"""Tokens in another order, the same attention."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.forms.frames import ClassMask, Frames
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import regrouping


def test_what_acts_on_each_token_commutes_with_their_order() -> None:
    generator = torch.Generator().manual_seed(1)
    x, weight = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((12, 5), (5, 4)))
    order = torch.randperm(12, generator=generator)
    norm = torch.nn.LayerNorm(5, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(norm(x[order]) @ weight, (norm(x) @ weight)[order], rtol=1e-13, atol=1e-14)
        # What mixes tokens does not.
        assert not torch.allclose(x[order].cumsum(0), x.cumsum(0)[order], rtol=1e-2)


def test_the_two_orders() -> None:
    is_class = ClassMask(3).is_class
    token, patches = torch.zeros(1, 1, 1), torch.tensor([11.0, 12, 21, 22]).reshape(1, 4, 1)
    frame_after_frame = Frames(2, 3, frame_major=True).join(token, patches, is_class).flatten().tolist()
    side_by_side = Frames(2, 3).join(token, patches, is_class).flatten().tolist()
    assert frame_after_frame == [0, 11, 12, 0, 21, 22]
    assert side_by_side == [0, 0, 11, 21, 12, 22]


@pytest.mark.parametrize("mechanism", ["fastformer", "performer", "regular"])
def test_the_logits_are_what_they_were(model_of: Callable[..., FastTimeSformer], mechanism: str) -> None:
    model = model_of(attn_mechanism=mechanism).double()
    config = model.config
    shape = (2, config.frames, config.channels, config.height, config.width)
    clip = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        plain, rewritten = (
            ExportForm(model, names)(clip) for names in (frozenset(), frozenset({regrouping.REWRITE.name}))
        )
    assert torch.allclose(rewritten, plain, rtol=1e-11, atol=1e-12)
