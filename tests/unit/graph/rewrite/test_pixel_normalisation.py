"""Pixels in, the model's own answers out: the normalisation is in the patch embedding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import GraphInput, Normalisation
from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import ALL, pixel_normalisation

NORMALISATION = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
GREY_LEVELS = Normalisation(tuple(255 * m for m in NORMALISATION.mean), tuple(255 * s for s in NORMALISATION.std))
NAME = pixel_normalisation.REWRITE.name
LAYOUTS = ("BFCHW", "BCFHW", "BFHWC")
EXACT = 1e-10


def normalised(clip: torch.Tensor, how: Normalisation = NORMALISATION) -> torch.Tensor:
    mean, std = (torch.tensor(v, dtype=clip.dtype)[:, None, None] for v in (how.mean, how.std))
    return (clip - mean) / std


def error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize("biased", [True, False])
def test_the_weights_take_it_over(biased: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    weight, bias = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((12, 5), (5,)))
    embed = LinearMap(weight, bias if biased else None)
    pixels_CHW = torch.rand(3, 2, 2, generator=generator, dtype=torch.float64)
    pixel_by_pixel = pixels_CHW.permute(1, 2, 0).flatten()
    expected = embed(normalised(pixels_CHW).permute(1, 2, 0).flatten())
    assert torch.allclose(pixel_normalisation.folded(embed, NORMALISATION)(pixel_by_pixel), expected, rtol=1e-12)
    # Each channel has figures of its own.
    swapped = Normalisation(NORMALISATION.mean[::-1], NORMALISATION.std[::-1])
    assert not torch.allclose(pixel_normalisation.folded(embed, swapped)(pixel_by_pixel), expected, rtol=1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("rewrites", [ALL, ALL - {NAME}, frozenset({NAME})])
def test_the_form_takes_pixels(
    model_of: Callable[..., FastTimeSformer], rewrites: frozenset[str], dtype: str, layout: str
) -> None:
    model = model_of().double().eval()
    config = model.config
    generator = torch.Generator().manual_seed(5)
    shape = (2, config.frames, config.channels, config.height, config.width)
    levels = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    how = GREY_LEVELS if dtype == "uint8" else NORMALISATION
    pixels = levels if dtype == "uint8" else levels.double() / 255
    clip = pixels.permute(*("BFCHW".index(letter) for letter in layout)).contiguous()
    form = ExportForm(model, rewrites, takes=GraphInput(dtype=dtype, layout=layout, normalisation=how))
    swapped = Normalisation(how.mean[::-1], how.std[::-1])
    with torch.no_grad():
        expected = model(normalised(levels.double() / 255))
        assert error(form(clip), expected) <= EXACT
        other = ExportForm(model, rewrites, takes=GraphInput(dtype=dtype, layout=layout, normalisation=swapped))
        assert error(other(clip), expected) > 1e-3
    assert (form.pixels is None) == (NAME in rewrites)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_form_takes_clips_in_any_order(model_of: Callable[..., FastTimeSformer], layout: str) -> None:
    model = model_of().double().eval()
    config = model.config
    clip = torch.randn(2, config.frames, config.channels, config.height, config.width, dtype=torch.float64)
    order = [("BFCHW").index(letter) for letter in layout]
    with torch.no_grad():
        form = ExportForm(model, ALL, takes=GraphInput(layout=layout))
        assert error(form(clip.permute(*order)), model(clip)) <= EXACT
