"""The class token needs one query a frame and one row of the MLP; the mean may go before the projection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import TapSpec
from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import class_tail

CLASS_TAIL = frozenset({class_tail.REWRITE.name})


def double(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_mean_goes_before_the_product() -> None:
    product = LinearMap(double((6, 4), 1), double((4,), 2))
    x = double((2, 3, 6), 3)
    late, early = product(x).mean(dim=1), product(x.mean(dim=1))
    assert torch.allclose(early, late, rtol=1e-12, atol=1e-12)
    # It holds for a linear map alone.
    assert not torch.allclose(torch.relu(x).mean(dim=1), torch.relu(x.mean(dim=1)), rtol=1e-2)


@pytest.mark.parametrize("mechanism", ["fastformer", "performer", "regular"])
@pytest.mark.parametrize("kind", ["divided", "joint", "space"])
def test_the_last_block_gives_the_class_row_of_the_whole_block(
    model_of: Callable[..., FastTimeSformer], kind: str, mechanism: str
) -> None:
    """On any stream whose class tokens are equal in all frames (all streams of divided blocks are)."""
    model = model_of(attn_mechanism=mechanism, attn_type=kind, qkv_bias=True)
    whole = ExportForm(model, frozenset()).double().blocks[-1]
    tail = ExportForm(model, CLASS_TAIL).double().blocks[-1]
    # A class token for each frame, or one.
    frames, tokens = (3, 7) if kind == "space" else (1, 19)
    x_BFTD = double((2, frames, tokens, 64), 4)
    x_BSD = x_BFTD.flatten(1, 2)
    with torch.no_grad():
        expected = whole(x_BSD).reshape(x_BFTD.shape)[:, :, 0]
        got = tail(x_BSD)
    assert got.shape == (2, frames, 64)
    assert torch.allclose(got, expected, rtol=1e-11, atol=1e-12)


def test_taps_of_the_last_block_hold_the_class_token(model_of: Callable[..., Any]) -> None:
    assert ExportForm(model_of(), CLASS_TAIL).taps() == (
        TapSpec("patch_embed"),
        TapSpec("blocks.0.temporal"),
        TapSpec("blocks.0.spatial"),
        TapSpec("blocks.0.mlp"),
        TapSpec("blocks.1.temporal"),
        TapSpec("blocks.1.spatial", "class"),
        TapSpec("blocks.1.mlp", "class"),
        TapSpec("norm"),
    )
    assert {tap.tokens for tap in ExportForm(model_of(), frozenset()).taps()} == {"all"}
