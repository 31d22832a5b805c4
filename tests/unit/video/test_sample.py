"""Which frames make a clip."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsf_export.errors import VideoError
from ftsf_export.video.sample import sample


def test_a_long_video_is_sampled_at_the_stride_from_its_middle() -> None:
    taken = sample(250, 8, 32)
    assert taken.indices == (12, 44, 76, 108, 140, 172, 204, 236)
    assert not taken.clamped
    assert str(taken) == "frames 12..236 step 32"


def test_a_short_video_is_sampled_as_widely_as_it_allows() -> None:
    taken = sample(132, 8, 32)
    assert (taken.stride, taken.clamped) == (18, True)
    assert taken.indices == (2, 20, 38, 56, 74, 92, 110, 128)


def test_one_frame_is_the_middle_one() -> None:
    assert sample(9, 1, 256).indices == (4,)
    assert str(sample(9, 1, 256)) == "frame 4"


def test_too_short_a_video_names_both_counts() -> None:
    with pytest.raises(VideoError, match="needs 8 frames, the video has 7"):
        sample(7, 8, 32)
    assert sample(8, 8, 32).indices == tuple(range(8))


@pytest.mark.parametrize(("frames", "stride"), [(0, 1), (1, 0)])
def test_counts_below_one_are_a_mistake_of_the_caller(frames: int, stride: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        sample(10, frames, stride)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 64), st.integers(0, 400))
def test_indices_are_in_range_evenly_apart_and_centred(frames: int, stride: int, extra: int) -> None:
    available = frames + extra
    taken = sample(available, frames, stride)
    first, last = taken.indices[0], taken.indices[-1]
    assert 0 <= first <= last < available
    assert {b - a for a, b in zip(taken.indices, taken.indices[1:], strict=False)} <= {taken.stride}
    assert abs(first - (available - 1 - last)) <= 1
    # Clamped only when the stride does not fit, and then no wider step would.
    assert taken.clamped is ((frames - 1) * stride >= available)
    assert not taken.clamped or (frames - 1) * (taken.stride + 1) >= available
