"""The views of one video whose scores are averaged: clips along its length, crops along the longer side of its frames.

Numbers of frames and corners of boxes alone; no frame is touched here. One clip and one crop are what the manifest
describes, so that more views only add to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import SPREAD, TARGET_FPS, TORCH
from ftsf_export.errors import ConfigError, VideoError
from ftsf_export.video.sample import Sampling, sampling_of

CROPS = (1, 3)


@dataclass(frozen=True)
class Box:
    """A part of a resized frame, in pixels."""

    top: int  #: Of its upper left corner.
    left: int  #: Of its upper left corner.
    height: int  #: Of the crop that the model was trained at.
    width: int  #: Of the crop that the model was trained at.


def check_views(clips: int, crops: int) -> None:
    """Raises ConfigError naming each number that is wrong."""
    problems = [f"clips: expected at least 1, got {clips}"] if clips < 1 else []
    if crops not in CROPS:
        problems.append(f"crops: expected one of {', '.join(map(str, CROPS))}, got {crops}")
    if problems:
        raise ConfigError(problems)


def clips_of(how: Preprocessing, available: int, rate: Fraction | None, clips: int) -> tuple[Sampling, ...]:
    """The frames of each of ``clips`` clips of a video of ``available`` frames, ``rate`` a second, in order.

    Each clip takes its frames as ``sampling_of`` does, moved as a whole. What the video has more frames than the clip
    spans is divided into ``clips`` equal parts: a clip starts in the middle of its part, as mmaction2's
    ``SampleFrames`` tests, or with "spread" at the start of it, as facebookresearch/TimeSformer does
    (``datasets/decoder.py``). In a video that is as long as one clip all of them are the same.

    Raises ConfigError for fewer clips than 1, VideoError as ``sampling_of``.
    """
    check_views(clips, CROPS[0])
    one = sampling_of(how, available, rate)
    if clips == 1:
        return (one,)
    first, last = one.indices[0], one.indices[-1]
    if how.sampling == SPREAD:
        room = max(Fraction(0), available - how.frames * how.stride * (rate or Fraction(TARGET_FPS)) / TARGET_FPS)
        starts = [floor(room * i / clips) for i in range(clips)]
    else:
        starts = [(available - 1 - last + first) * (2 * i + 1) // (2 * clips) for i in range(clips)]
    return tuple(replace(one, indices=_moved(one.indices, start - first)) for start in starts)


def crops_of(how: Preprocessing, height: int, width: int, crops: int) -> tuple[Box, ...]:
    """The boxes of a frame that is ``height`` x ``width`` after resizing: the centre; with 3 the left, the centre and
    the right, or upper, centre and lower where the frame has more room that way.

    The first is the left or upper one (facebookresearch/TimeSformer, ``datasets/transform.py``, ``uniform_crop``).
    Raises ConfigError for other numbers of crops, and VideoError for a frame that is smaller than the crop.
    """
    check_views(1, crops)
    box = how.box or how.crop
    room = (height - box[0], width - box[1])
    if min(room) < 0:
        raise VideoError(f"a frame of {height}x{width} pixels is smaller than the crop of {box[0]}x{box[1]}")
    top, left = ((more + (how.resizer == TORCH)) // 2 for more in room)
    if crops == 1:
        corners = [(top, left)]
    elif room[0] > room[1]:
        corners = [(0, left), (top, left), (room[0], left)]
    else:
        corners = [(top, 0), (top, left), (top, room[1])]
    return tuple(Box(*corner, *how.crop) for corner in corners)


def _moved(indices: Sequence[int], by: int) -> tuple[int, ...]:
    return tuple(index + by for index in indices)
