"""Bundles whose graph takes pixels: the same answers, and no normalisation left for whoever decodes the video."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftsf_export import Bundle, ExportConfig, benchmark, export, predict, verify
from ftsf_export.bench.request import BenchRequest
from ftsf_export.bundle import Preprocessing
from ftsf_export.checkpoint.load import load_model
from ftsf_export.cli.main import ftsf, run
from ftsf_export.errors import ConfigError
from ftsf_export.graph.rewrite import ALL, pixel_normalisation
from ftsf_export.video.clip import clip_from_video
from tests.unit.checkpoint.pretrained import their_model, write_huggingface
from tests.videos import real_videos

SMALL = {"frames": 2, "size": "32x48", "dim": 64, "depth": 1, "dim_head": 16, "num_classes": 5, "builder": "none"}
SHAPES = {None: (2, 32, 48, 3), "bfchw": (2, 3, 32, 48), "bcfhw": (3, 2, 32, 48)}


def eager_logits(config: ExportConfig, clips_BFCHW: Any) -> Any:
    with torch.no_grad():
        return load_model(config).eval()(torch.from_numpy(np.ascontiguousarray(clips_BFCHW))).numpy()


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
    np.testing.assert_allclose(golden.logits, eager_logits(config, normalised), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def bytes_of() -> Callable[..., Any]:
    """Bundles of uint8 by their layout, each made once."""
    made: dict[str | None, tuple[ExportConfig, Bundle]] = {}

    def make(folder: Path, layout: str | None, video: Path | None = None) -> tuple[ExportConfig, Bundle]:
        if layout not in made:
            asked = {"batch": "1:2:4", "videos": [video] if video else []}
            config = ExportConfig(**SMALL, **asked, input="uint8", layout=layout)  # type: ignore[arg-type]
            made[layout] = config, export(config, output=folder / "bundle")
        return made[layout]

    return make


@pytest.mark.parametrize("layout", [None, "bcfhw"])
def test_uint8_in_the_models_answers_out(
    tmp_path_factory: pytest.TempPathFactory, bytes_of: Callable[..., Any], layout: str | None
) -> None:
    video = real_videos() / "bikes.mp4" if layout is None else None
    config, bundle = bytes_of(tmp_path_factory.mktemp("uint8"), layout, video)
    assert {verdict.status.value for verdict in bundle.verdicts} == {"passed"}
    manifest, golden = Bundle.open(bundle.path).manifest, bundle.golden()
    spec, how = manifest.inputs[0], manifest.preprocessing
    assert (spec.dtype, spec.layout, spec.shape) == ("uint8", f"B{how.layout}", ("batch", *SHAPES[layout]))
    assert (spec.values, how.dtype, how.mean, how.std) == ("RGB in 0..255", "uint8", (0, 0, 0), (1, 1, 1))
    assert (golden.clip.dtype, golden.clip.shape, golden.clip.max()) == (np.uint8, (2, *SHAPES[layout]), 255)
    clips = golden.clip.transpose([spec.layout.index(letter) for letter in "BFCHW"]).astype(np.float32) / 255
    normalised = Preprocessing.of_timesformer(config.architecture).normalisation.of(clips)
    np.testing.assert_allclose(golden.logits, eager_logits(config, normalised), rtol=1e-5, atol=1e-6)


def test_every_command_takes_such_a_bundle(
    tmp_path_factory: pytest.TempPathFactory, bytes_of: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    _, bundle = bytes_of(tmp_path_factory.mktemp("uint8"), "bcfhw")
    assert verify(bundle.path).passed
    assert "RGB, in 0..255 |" in (bundle.path / "report.md").read_text(encoding="utf-8")
    request = BenchRequest(runner="onnxruntime", batch=3, seconds=0.01, iterations=1, warmup=1)
    assert benchmark(bundle.path, request).timings[0].subject.batch == 3
    assert run(ftsf, ["info", str(bundle.path)], "ftsf") == 0
    assert "input      clip: uint8 batch x 3 x 2 x 32 x 48 (BCFHW), RGB in 0..255" in capsys.readouterr().out
    assert run(ftsf, ["info", "--json", str(bundle.path)], "ftsf") == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (facts["inputs"][0]["dtype"], facts["preprocessing"]["layout"]) == ("uint8", "CFHW")


def test_videos_are_classified_as_by_the_model(
    tmp_path_factory: pytest.TempPathFactory, bytes_of: Callable[..., Any]
) -> None:
    """``predict`` gives the graph the frames in its own form; the scores are those of eager PyTorch."""
    video = real_videos() / "bikes.mp4"
    config, bundle = bytes_of(tmp_path_factory.mktemp("uint8"), None, video)
    (answer,) = predict(bundle.path, video, runner="onnxruntime", workers=1).answers
    own = Preprocessing.of_timesformer(config.architecture)
    logits = torch.from_numpy(eager_logits(config, clip_from_video(video, own).values[None]))
    scores = logits.softmax(dim=1)[0].tolist()
    assert [one.index for one in answer.topk] == sorted(range(5), key=lambda i: -scores[i])
    np.testing.assert_allclose([one.score for one in answer.topk], sorted(scores, reverse=True), rtol=5e-3)


def test_a_checkpoint_of_hugging_face_is_asked_too(tmp_path: Path) -> None:
    """Their model gets the clip as they take it; another layout of its own processor's crop, with other statistics."""
    folder = write_huggingface(tmp_path / "theirs", their_model())
    config = ExportConfig(checkpoint=folder, builder="none", precision="fp32", input="uint8", layout="bcfhw")
    found = {one.gate: one.status.value for one in export(config, output=tmp_path / "out").verdicts}
    assert found["parity.huggingface"] == found["parity.onnx-fp32"] == "passed"


def test_without_it_the_clip_is_normalised(tmp_path: Path) -> None:
    golden = export(ExportConfig(**SMALL), output=tmp_path / "clip").golden()
    assert golden.clip.min() < -1


def test_two_kinds_of_pixels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pixels: float32 in 0\.\.1, and input is uint8"):
        ExportConfig(pixels=True, input="uint8")
    with pytest.raises(ConfigError, match="layout: expected one of bfchw, bcfhw, got 'bfhwc'"):
        ExportConfig(layout="bfhwc")  # type: ignore[arg-type]
