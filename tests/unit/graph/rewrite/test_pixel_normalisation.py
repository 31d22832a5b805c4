"""Pixels in, the model's own answers out: the normalisation is in the patch embedding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import Normalisation
from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import ALL, pixel_normalisation

NORMALISATION = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def normalised(clip: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v, dtype=clip.dtype)[:, None, None] for v in (NORMALISATION.mean, NORMALISATION.std))
    return (clip - mean) / std


@pytest.mark.parametrize("biased", [True, False])
def test_the_weights_take_it_over(biased: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    weight, bias = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((12, 5), (5,)))
    embed = LinearMap(weight, bias if biased else None)
    pixels_CHW = torch.rand(3, 2, 2, generator=generator, dtype=torch.float64)
    expected = embed(normalised(pixels_CHW).flatten())
    assert torch.allclose(pixel_normalisation.folded(embed, NORMALISATION)(pixels_CHW.flatten()), expected, rtol=1e-12)
    # Each channel has figures of its own.
    swapped = Normalisation(NORMALISATION.mean[::-1], NORMALISATION.std[::-1])
    assert not torch.allclose(pixel_normalisation.folded(embed, swapped)(pixels_CHW.flatten()), expected, rtol=1e-3)


@pytest.mark.parametrize(
    "rewrites", [ALL, ALL - {pixel_normalisation.REWRITE.name}, frozenset({pixel_normalisation.REWRITE.name})]
)
def test_the_form_takes_pixels(model_of: Callable[..., FastTimeSformer], rewrites: frozenset[str]) -> None:
    model = model_of().double().eval()
    config = model.config
    generator = torch.Generator().manual_seed(5)
    shape = (2, config.frames, config.channels, config.height, config.width)
    clip = torch.rand(shape, generator=generator, dtype=torch.float64)
    form = ExportForm(model, rewrites, normalisation=NORMALISATION)
    with torch.no_grad():
        expected = model(normalised(clip))
        assert torch.allclose(form(clip), expected, rtol=1e-10, atol=1e-12)
        assert not torch.allclose(ExportForm(model, rewrites)(clip), expected, rtol=1e-2)
    assert (form.pixels is None) == (pixel_normalisation.REWRITE.name in rewrites)
