"""What varies in a training's clips: from the seed alone, each part by itself, within its bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftsf_export.bundle import Preprocessing
from ftsf_export.errors import ConfigError, VideoError
from ftsf_export.video.augment import random_frames, varied_clip, varied_frames
from ftsf_export.video.augmentation import NOTHING_VARIES, Augmentation
from ftsf_export.video.clip import clip_from_video
from ftsf_export.video.preprocess import preprocess
from ftsf_export.video.video_clips import clips_from_video
from ftsf_export.video.views import clips_of

HOW = Preprocessing(frames=3, stride=2, resize_short_side=16, crop=(16, 16), mean=(0.45,) * 3, std=(0.225,) * 3)
WriteVideo = Callable[..., Path]


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def frames() -> list[np.ndarray[Any, Any]]:
    """Smooth pictures, larger than the crop, in which every place has its own colour."""
    rows, columns = np.mgrid[0:40, 0:60]
    return [np.stack([rows * 5, columns * 4, rows + columns + 20 * i], axis=-1).astype(np.uint8) for i in range(3)]


def test_nothing_that_varies_is_what_is_judged(frames: list[Any]) -> None:
    assert not NOTHING_VARIES.varies
    np.testing.assert_array_equal(varied_frames(frames, HOW, NOTHING_VARIES, drawn()), preprocess(frames, HOW))


@pytest.mark.parametrize(
    "part",
    [{"scale_jitter": (1.1, 1.5)}, {"random_crop": True}, {"flip": True}, {"color_jitter": 0.4}],
    ids=lambda part: next(iter(part)),
)
def test_each_part_varies_by_its_seed_alone(part: dict[str, Any], frames: list[Any]) -> None:
    vary = replace(NOTHING_VARIES, **part)
    found = [varied_frames(frames, HOW, vary, drawn(seed)) for seed in (0, 0, 1, 2, 3)]
    assert {clip.shape for clip in found} == {(3, 3, 16, 16)}
    np.testing.assert_array_equal(found[0], found[1])
    assert len({clip.tobytes() for clip in found}) > 1
    assert vary.varies


def test_colour_is_off_by_default_and_changes_colours_alone() -> None:
    assert Augmentation().color_jitter == 0
    grey = [np.full((20, 20, 3), 100, np.uint8)] * 3
    plain = varied_frames(grey, HOW, Augmentation(), drawn())
    np.testing.assert_array_equal(plain, preprocess(grey, HOW))
    lit = varied_frames(grey, HOW, Augmentation(color_jitter=0.4), drawn())
    pixels = lit * 0.225 + 0.45
    assert float(np.ptp(lit)) < 1e-5, "one way for the whole clip"
    assert 60 / 255 - 1e-6 <= pixels.mean() <= 140 / 255 + 1e-6
    assert abs(pixels.mean() - 100 / 255) > 1e-3


def test_the_flip_mirrors_half_of_the_clips(frames: list[Any]) -> None:
    plain = preprocess(frames, HOW)
    clips = [varied_frames(frames, HOW, replace(NOTHING_VARIES, flip=True), drawn(seed)) for seed in range(40)]
    mirrored = [np.array_equal(clip, plain[..., ::-1]) for clip in clips]
    assert all(mirror or np.array_equal(clip, plain) for mirror, clip in zip(mirrored, clips, strict=True))
    assert 10 < sum(mirrored) < 30


def test_the_scale_covers_its_range_and_crops_cover_the_frame(frames: list[Any]) -> None:
    """The column is the green value, so the crop's corners say where it was and at which scale."""
    vary = replace(NOTHING_VARIES, scale_jitter=(1.0, 2.0), random_crop=True)
    widths, lefts = [], []
    for seed in range(200):
        green = (varied_frames(frames, HOW, vary, drawn(seed))[0, 1] * 0.225 + 0.45) * 255 / 4
        widths.append(green[8, 14] - green[8, 1])
        lefts.append(green[8, 0])
    seen = np.array(widths) / 13 * 16 / 40
    assert 0.48 < seen.min() < 0.56
    assert 0.9 < seen.max() < 1.04
    assert min(lefts) < 3
    assert max(lefts) > 30


def test_a_clip_begins_anywhere_it_fits_and_segments_take_one_of_each() -> None:
    starts = {random_frames(HOW, 9, None, drawn(seed))[0] for seed in range(100)}
    assert starts == set(range(5))
    assert random_frames(HOW, 3, None, drawn()) == (0, 1, 2)
    found = {random_frames(replace(HOW, sampling="segments"), 7, None, drawn(seed)) for seed in range(200)}
    assert {frames[0] for frames in found} == {0, 1, 2}
    assert {frames[2] for frames in found} == {4, 5, 6}
    with pytest.raises(VideoError, match="too short"):
        random_frames(HOW, 2, None, drawn())


def test_a_video_varies_and_its_views_are_those_that_were_asked_for(write_video: WriteVideo) -> None:
    path = write_video("a.mp4", frames=12)
    np.testing.assert_array_equal(varied_clip(path, HOW, NOTHING_VARIES, drawn()), clip_from_video(path, HOW).values)
    moved = replace(NOTHING_VARIES, temporal_offset=True)
    assert len({varied_clip(path, HOW, moved, drawn(seed)).tobytes() for seed in range(12)}) > 3
    views = clips_from_video(path, HOW, clips=2, crops=3).values
    assert views.shape == (6, 3, 3, 16, 16)
    assert views.flags.c_contiguous
    # A frame's grey is eight times its number right of the white third, which only the left crop has.
    numbers = (views[:, :, 0, 8, 15] * 0.225 + 0.45) * 255 / 8
    for clip, sampling in enumerate(clips_of(HOW, 12, None, 2)):
        np.testing.assert_allclose(numbers[3 * clip + 2], sampling.indices, atol=0.4)
    assert views[0, 0, 0, 8, 3] > 2
    assert views[2, 0, 0, 8, 3] < 0


def test_wrong_fields_are_named() -> None:
    with pytest.raises(ConfigError, match=r"scale_jitter: .* got 0.5:1; color_jitter: .* got 1"):
        Augmentation(scale_jitter=(0.5, 1.0), color_jitter=1)
