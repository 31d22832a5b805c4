"""A bundle whose graph takes pixels: the same answers, and no normalisation left for whoever decodes the video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ftsf_export import Bundle, ExportConfig, export
from ftsf_export.bundle import Preprocessing
from ftsf_export.checkpoint.load import load_model
from ftsf_export.graph.rewrite import ALL, pixel_normalisation

SMALL = {"frames": 2, "size": "32", "dim": 64, "depth": 1, "dim_head": 16, "num_classes": 5, "builder": "none"}


@pytest.mark.parametrize("rewrites", [None, tuple(ALL - {pixel_normalisation.REWRITE.name})])
def test_pixels_in_the_models_answers_out(tmp_path: Path, rewrites: tuple[str, ...] | None) -> None:
    config = ExportConfig(**SMALL, pixels=True, rewrites=rewrites)
    bundle = export(config, output=tmp_path / "pixels")
    assert {verdict.status.value for verdict in bundle.verdicts} == {"passed"}
    manifest, golden = Bundle.open(tmp_path / "pixels").manifest, bundle.golden()
    assert (manifest.preprocessing.mean, manifest.preprocessing.std) == ((0, 0, 0), (1, 1, 1))
    assert manifest.inputs[0].values == "RGB in 0..1"
    assert 0 <= golden.clip.min() < 0.1 < 0.9 < golden.clip.max() <= 1
    normalised = Preprocessing.of_timesformer(config.architecture).normalisation.of(golden.clip)
    with torch.no_grad():
        logits = load_model(config).eval()(torch.from_numpy(normalised)).numpy()
    np.testing.assert_allclose(golden.logits, logits, rtol=1e-5, atol=1e-6)


def test_without_it_the_clip_is_normalised(tmp_path: Path) -> None:
    golden = export(ExportConfig(**SMALL), output=tmp_path / "clip").golden()
    assert golden.clip.min() < -1
