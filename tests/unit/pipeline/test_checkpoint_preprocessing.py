"""The preprocessing of a checkpoint's bundle gives what Hugging Face's own processor gives for the same frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import TimesformerConfig, TimesformerForVideoClassification
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from ftsf_export.config import ExportConfig
from ftsf_export.pipeline.resolve import resolve_export
from ftsf_export.video.preprocess import preprocess
from tests.unit.checkpoint.pretrained import their_model, write_huggingface, write_pyth

FRAMES, SIDE = 3, 32


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """A checkpoint whose processor was saved by transformers itself."""

    def make(**fields: Any) -> Path:
        from safetensors.torch import save_file

        config = TimesformerConfig(
            image_size=SIDE, patch_size=8, num_frames=FRAMES, hidden_size=32, num_hidden_layers=1,
            num_attention_heads=2, intermediate_size=64, num_labels=3, id2label={0: "a", 1: "b", 2: "c"},
        )  # fmt: skip
        folder = tmp_path / "m"
        config.save_pretrained(folder)
        save_file(dict(TimesformerForVideoClassification(config).state_dict()), folder / "model.safetensors")
        VideoMAEImageProcessorPil(
            **{"size": {"shortest_edge": 40}, "crop_size": {"height": SIDE, "width": SIDE}, **fields}
        ).save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize("shape", [(48, 85), (85, 48), (64, 64), (40, 41), (33, 57)])
@pytest.mark.parametrize(
    "fields",
    [
        {"image_mean": [0.45] * 3, "image_std": [0.225] * 3},
        {"resample": 3, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
        {"do_normalize": False, "size": {"shortest_edge": SIDE}},
    ],
)
def test_the_same_tensor(
    checkpoint: Callable[..., Path], tmp_path: Path, shape: tuple[int, int], fields: dict[str, Any]
) -> None:
    folder = checkpoint(**fields)
    processor = VideoMAEImageProcessorPil.from_pretrained(folder)
    rng = np.random.default_rng(shape[0])
    frames = [rng.integers(0, 256, (*shape, 3), np.uint8) for _ in range(FRAMES)]
    expected = np.asarray(processor(frames, return_tensors="np")["pixel_values"])[0]
    plan = resolve_export(ExportConfig(checkpoint=folder, builder="none"), output=tmp_path / "out")
    got = preprocess(frames, plan.preprocessing)
    assert got.shape == expected.shape == (FRAMES, 3, SIDE, SIDE)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    assert plan.labels == ("a", "b", "c")


def test_another_size_keeps_the_share_that_is_cut_off(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    folder = checkpoint()
    asked = ExportConfig(checkpoint=folder, size="64x48", frames=16, builder="none")
    how = resolve_export(asked, output=tmp_path / "out").preprocessing
    assert (how.resize_short_side, how.crop, how.frames, how.stride) == (80, (64, 48), 16, 16)


@pytest.mark.parametrize(("frames", "stride"), [(8, 32), (16, 16), (96, 4)])
def test_the_variants_sample_as_they_were_trained(tmp_path: Path, frames: int, stride: int) -> None:
    """Bertasius et al. 2021, section 4.3; the long variant spans 384 frames, the others 256."""
    folder = write_huggingface(tmp_path / "m", their_model(num_frames=frames))
    plan = resolve_export(ExportConfig(checkpoint=folder, builder="none"), output=tmp_path / "out")
    assert plan.preprocessing.stride == stride


def test_fewer_frames_span_as_long_a_time(tmp_path: Path) -> None:
    """Four frames 16 apart become two 32 apart."""
    path = write_pyth(tmp_path / "a.pyth", their_model(num_attention_heads=1, hidden_size=64))
    config = ExportConfig(checkpoint=path, builder="none")
    strides = [
        resolve_export(config.replaced(frames=frames), output=tmp_path / "out").preprocessing.stride
        for frames in (4, 2, 8)
    ]
    assert strides == [16, 32, 8]


def test_a_processor_of_another_size_follows_the_model(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    folder = checkpoint(size={"shortest_edge": 80}, crop_size={"height": 64, "width": 64})
    plan = resolve_export(ExportConfig(checkpoint=folder, builder="none"), output=tmp_path / "out")
    assert (plan.preprocessing.resize_short_side, plan.preprocessing.crop) == (40, (32, 32))
    assert any("crops to 64x64, its model takes 32x32" in warning for warning in plan.warnings)


def test_without_a_processor_it_is_said(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    folder = checkpoint()
    (folder / "preprocessor_config.json").unlink()
    plan = resolve_export(ExportConfig(checkpoint=folder, builder="none"), output=tmp_path / "out")
    assert plan.preprocessing.mean == (0.45,) * 3
    assert any("no preprocessor_config.json" in warning for warning in plan.warnings)
    assert json.loads(json.dumps(plan.as_dict()))["checkpoint"]["warnings"] == list(plan.warnings)
