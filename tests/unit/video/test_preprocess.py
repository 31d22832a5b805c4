"""Frames to numbers: against Hugging Face's processor of TimeSformer, and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import Preprocessing
from ftsf_export.errors import VideoError
from ftsf_export.video.clip import clip_from_video
from ftsf_export.video.preprocess import preprocess


def how(**changes: Any) -> Preprocessing:
    fields: dict[str, Any] = {
        "frames": 2, "stride": 1, "resize_short_side": 32, "crop": (32, 32), "mean": (0.45,) * 3, "std": (0.225,) * 3,
    }  # fmt: skip
    return Preprocessing(**{**fields, **changes})


def noise(height: int, width: int, frames: int = 2) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(frames)]


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (33, 95), (32, 32), (20, 27), (101, 67)])
def test_as_hugging_face_does_it(shape: tuple[int, int]) -> None:
    """transformers' Pillow processor of TimeSformer checkpoints, resize, crop and all, within float32 rounding."""
    pil = pytest.importorskip("transformers.models.videomae.image_processing_pil_videomae")
    processor = pil.VideoMAEImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_mean=[0.4, 0.45, 0.5],
        image_std=[0.2, 0.225, 0.25], resample=2,
    )  # fmt: skip
    frames = noise(*shape)
    expected = np.asarray(processor(frames, return_tensors="np")["pixel_values"])[0]
    got = preprocess(frames, how(mean=(0.4, 0.45, 0.5), std=(0.2, 0.225, 0.25)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


def test_shape_type_layout_and_values() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 255
    got = preprocess([red, red // 5], how(crop=(16, 24)))
    assert (got.shape, got.dtype, got.flags.c_contiguous) == ((2, 3, 16, 24), np.float32, True)
    np.testing.assert_allclose(got[0, 0], (1 - 0.45) / 0.225, rtol=1e-6)
    np.testing.assert_allclose(got[1, 0], (0.2 - 0.45) / 0.225, rtol=1e-6)
    np.testing.assert_allclose(got[:, 1:], -2, rtol=1e-6)


@pytest.mark.parametrize("resizer", ["pillow", "opencv", "torch"])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("layout", ["FCHW", "CFHW", "FHWC"])
def test_whole_grey_levels_in_any_order(layout: str, order: str, resizer: str) -> None:
    """The same pixels as in float32, not scaled: exactly where the filter gives whole ones, else to half a level."""
    frames, same = noise(48, 64), {"color_order": order, "resizer": resizer, "crop": (32, 24)}
    whole = how(dtype="uint8", layout=layout, mean=(0.0,) * 3, std=(1.0,) * 3, **same)
    got = preprocess(frames, whole)
    assert (got.dtype, got.flags.c_contiguous, got.shape) == (np.uint8, True, whole.clip_shape)
    levels = preprocess(frames, how(**same, mean=(0.0,) * 3, std=(1.0,) * 3)) * 255
    apart = np.abs(got.transpose([layout.index(letter) for letter in "FCHW"]) - levels)
    assert apart.max() <= (0.5001 if resizer == "torch" else 1e-4)
    np.testing.assert_array_equal(whole.levels_of(got), got.transpose([layout.index(letter) for letter in "FCHW"]))


@pytest.mark.parametrize("layout", ["FCHW", "CFHW", "FHWC"])
def test_normalised_clips_in_any_order(layout: str) -> None:
    frames, statistics = noise(48, 64), {"mean": (0.4, 0.45, 0.5), "std": (0.2, 0.225, 0.25)}
    usual, other = how(**statistics), how(**statistics, layout=layout)
    got = preprocess(frames, other)
    np.testing.assert_array_equal(got.transpose([layout.index(letter) for letter in "FCHW"]), preprocess(frames, usual))
    np.testing.assert_allclose(other.levels_of(got), usual.levels_of(preprocess(frames, usual)), atol=1e-4)


def test_the_crop_is_the_centre_and_not_resized_frames_stay_exact() -> None:
    (frame,) = noise(10, 13, 1)
    got = preprocess([frame], how(resize_short_side=None, crop=(4, 6), mean=(0.0,) * 3, std=(1.0,) * 3))
    np.testing.assert_array_equal(np.rint(got[0] * 255), frame[3:7, 3:9].transpose(2, 0, 1))


def test_a_frame_smaller_than_the_crop_is_refused() -> None:
    with pytest.raises(VideoError, match="10x13 pixels is smaller than the crop of 16x8"):
        preprocess(noise(10, 13), how(resize_short_side=None, crop=(16, 8)))


def test_a_model_of_four_channels_takes_no_video() -> None:
    with pytest.raises(VideoError, match="gives 3 channels, the model takes 4"):
        preprocess(noise(32, 32), how(mean=(0.5,) * 4, std=(0.2,) * 4))


def test_an_unknown_filter_lists_the_known() -> None:
    with pytest.raises(VideoError, match=r"expected one of .*bilinear.*, got 'area'"):
        preprocess(noise(40, 40), how(resample="area"))


def usual(frames: int, height: int, width: int) -> Preprocessing:
    return Preprocessing.of_timesformer(TimeSformerConfig(frames, 3, height, width, num_classes=2, patch_size=8))


@pytest.mark.parametrize(("frames", "stride"), [(8, 32), (16, 16), (1, 256), (300, 1)])
def test_default_stride_is_the_papers(frames: int, stride: int) -> None:
    assert usual(frames, 8, 8).stride == stride


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 48), (64, 16)])
def test_default_preprocessing_covers_any_video(height: int, width: int) -> None:
    default = usual(8, height, width)
    assert (default.stride, default.crop, default.mean[0], default.std[2]) == (32, (height, width), 0.45, 0.225)
    for shape in ((90, 40), (40, 90), (16, 16)):
        assert preprocess(noise(*shape), default).shape == (2, 3, height, width)


def test_a_clip_of_a_real_video(real_videos: Path) -> None:
    clip = clip_from_video(real_videos / "carphone_pristine.mp4", usual(4, 32, 48))
    assert clip.source == "carphone_pristine.mp4 frames 1..118 step 39"
    assert (clip.values.shape, clip.values.dtype) == ((4, 3, 32, 48), np.float32)
    assert -2 - 1e-6 <= clip.values.min() < clip.values.max() <= (1 - 0.45) / 0.225 + 1e-6
    assert len({frame.tobytes() for frame in clip.values}) == 4


def test_every_complaint_names_the_file_once(write_video: Any) -> None:
    path = write_video("a.mp4", frames=5)
    default = usual(8, 32, 32)
    with pytest.raises(VideoError) as caught:
        clip_from_video(path, default)
    assert caught.value.message.count("a.mp4") == 1
    assert "needs 8 frames, the video has 5" in caught.value.message
