"""Clips along a video and crops along a frame: numbers alone."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsf_export.bundle import Preprocessing
from ftsf_export.errors import ConfigError, VideoError
from ftsf_export.video.sample import sampling_of
from ftsf_export.video.views import Box, clips_of, crops_of

HOW = Preprocessing(frames=4, stride=5, resize_short_side=32, crop=(32, 32), mean=(0.45,) * 3, std=(0.225,) * 3)


def starts(how: Preprocessing, available: int, clips: int, rate: int = 30) -> list[int]:
    return [clip.indices[0] for clip in clips_of(how, available, Fraction(rate), clips)]


def test_clips_stand_in_the_middle_of_equal_parts() -> None:
    """A clip spans 16 frames, so that 84 starts are after the first one: parts of 28."""
    assert starts(HOW, 100, 3) == [14, 42, 70]
    assert [clip.indices for clip in clips_of(HOW, 100, None, 2)] == [(21, 26, 31, 36), (63, 68, 73, 78)]
    assert starts(replace(HOW, sampling="segments"), 100, 2) == [6, 18]


def test_spread_starts_where_the_original_does() -> None:
    """``delta * clip_idx / num_clips``, delta: what the video has more than 20 frames at 30 a second."""
    how = replace(HOW, sampling="spread")
    assert starts(how, 100, 4) == [0, 20, 40, 60]
    assert starts(how, 100, 4, rate=15) == [0, 22, 45, 67]
    assert starts(how, 10, 3) == [0, 0, 0]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["stride", "segments", "spread"]),
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(0, 200),
    st.integers(1, 10),
    st.integers(5, 60),
)
def test_clips_are_inside_in_order_and_alike(
    sampling: str, frames: int, stride: int, extra: int, clips: int, rate: int
) -> None:
    how = replace(HOW, sampling=sampling, frames=frames, stride=stride)
    one, found = (clips_of(how, frames + extra, Fraction(rate), count) for count in (1, clips))
    assert one == (sampling_of(how, frames + extra, Fraction(rate)),)
    assert len(found) == clips
    assert [clip.indices for clip in found] == sorted(clip.indices for clip in found)
    for clip in found:
        assert 0 <= clip.indices[0] <= clip.indices[-1] < frames + extra
        assert [i - clip.indices[0] for i in clip.indices] == [i - one[0].indices[0] for i in one[0].indices]


def test_three_crops_lie_along_the_side_with_more_room() -> None:
    left, centre, right = crops_of(HOW, 32, 57, 3)
    assert (left, centre, right) == (Box(0, 0, 32, 32), Box(0, 12, 32, 32), Box(0, 25, 32, 32))
    assert [box.top for box in crops_of(HOW, 57, 32, 3)] == [0, 12, 25]
    assert {box.top for box in crops_of(HOW, 40, 57, 3)} == {4}
    assert crops_of(HOW, 32, 57, 1) == (centre,)
    assert crops_of(HOW, 32, 32, 3) == (Box(0, 0, 32, 32),) * 3


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"resizer": "torch"}, [(0, 0), (0, 13), (0, 25)]),
        ({"crop": (24, 40)}, [(4, 0), (4, 8), (4, 17)]),
        ({"crop": (30, 48), "box": (32, 50)}, [(0, 0), (0, 3), (0, 7)]),
    ],
)
def test_crops_of_other_shapes_and_resizers(changes: dict[str, Any], expected: list[tuple[int, int]]) -> None:
    """facebookresearch/TimeSformer rounds the centre up; of a larger box the upper left part is the crop."""
    found = crops_of(replace(HOW, **changes), 32, 57, 3)
    assert [(box.top, box.left) for box in found] == expected
    assert {(box.height, box.width) for box in found} == {changes.get("crop", (32, 32))}


def test_what_is_impossible_is_refused() -> None:
    with pytest.raises(ConfigError, match="clips: expected at least 1, got 0"):
        clips_of(HOW, 100, None, 0)
    with pytest.raises(VideoError, match="too short"):
        clips_of(HOW, 3, None, 2)
    with pytest.raises(ConfigError, match="crops: expected one of 1, 3, got 2"):
        crops_of(HOW, 32, 57, 2)
    with pytest.raises(VideoError, match="smaller than the crop"):
        crops_of(HOW, 31, 57, 3)
