"""Which frames of a video make a clip, as the models were trained.

``stride`` is the field's way (TimeSformer's 8x32, SlowFast's TxS): T frames, S frames of the video apart, from its
middle. ``segments`` is that of Something-Something: one frame from each of T equal parts of the whole video. ``spread``
is how facebookresearch/TimeSformer tests on Kinetics with one clip. ``uniform`` takes the frames in the middle of equal
parts of the whole video.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import floor

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import SEGMENTS, SPREAD, TARGET_FPS, UNIFORM
from ftsf_export.errors import VideoError


@dataclass(frozen=True)
class Sampling:
    """Which frames make a clip."""

    indices: tuple[int, ...]  #: Of the frames, in order.
    stride: int | None  #: How many frames of the video they are apart; None where they are not all equally far apart.
    clamped: bool = False  #: Whether the video was too short for what was asked for.

    def __str__(self) -> str:
        if len(self.indices) == 1:
            return f"frame {self.indices[0]}"
        step = f"{len(self.indices)} of them" if self.stride is None else f"step {self.stride}"
        return f"frames {self.indices[0]}..{self.indices[-1]} {step}"


def sampling_of(how: Preprocessing, available: int, rate: Fraction | None) -> Sampling:
    """The frames of a video of ``available`` frames, ``rate`` a second. Raises VideoError as the four ways do."""
    if how.sampling == UNIFORM:
        return uniform(available, how.frames)
    if how.sampling == SEGMENTS:
        return segments(available, how.frames)
    if how.sampling == SPREAD:
        return spread(available, how.frames, how.stride, rate or Fraction(TARGET_FPS))
    return sample(available, how.frames, how.stride)


def sample(available: int, frames: int, stride: int) -> Sampling:
    """``frames`` indices below ``available``, ``stride`` apart, centred in the video.

    A video too short for the stride is sampled as widely as it allows, evenly. One with fewer frames than the clip
    needs is refused: repeating frames would judge a clip that the model never sees in use.

    Raises:
        VideoError: fewer than ``frames`` are available.
        ValueError: a count or the stride is below 1.
    """
    _check(available, frames, stride)
    widest = (available - 1) // (frames - 1) if frames > 1 else stride
    used = min(stride, widest)
    first = (available - 1 - (frames - 1) * used) // 2
    return Sampling(tuple(first + used * i for i in range(frames)), used, clamped=used < stride)


def segments(available: int, frames: int) -> Sampling:
    """One index for each of ``frames`` equal parts of ``available`` frames, in the middle between its rounded ends
    (facebookresearch/TimeSformer, ``datasets/ssv2.py``).

    A short video repeats frames: such models were trained on those as well. ``available`` is at least 1. Raises
    ValueError where ``frames`` is below 1.
    """
    if frames < 1:
        raise ValueError(f"frames is at least 1, got {frames}")
    indices = tuple((start + end) // 2 for start, end in pairwise(ends_of_segments(available, frames)))
    return Sampling(indices, None, clamped=available < frames)


def ends_of_segments(available: int, frames: int) -> list[int]:
    """Where each of the parts of ``segments`` begins, and where the last one ends."""
    # Halves are rounded to the even number, by Python as by NumPy, which the original asks.
    return [round((available - 1) / frames * i) for i in range(frames + 1)]


def uniform(available: int, frames: int) -> Sampling:
    """Frame floor((i + 0.5) n / F) of the n ``available`` ones, for each i of F ``frames``: the middle of each of F
    equal parts, rounded down. A video with fewer frames repeats them.

    ``available`` is at least 1. Raises ValueError where ``frames`` is below 1.
    """
    if frames < 1:
        raise ValueError(f"frames is at least 1, got {frames}")
    indices = tuple((2 * i + 1) * available // (2 * frames) for i in range(frames))
    return Sampling(indices, None, clamped=available < frames)


def spread(available: int, frames: int, stride: int, rate: Fraction) -> Sampling:
    """``frames`` indices evenly over ``frames * stride`` thirtieths of a second of the video, its first and last frame
    included, from its start (facebookresearch/TimeSformer, ``datasets/decoder.py``, with one clip a video).

    What lies beyond the end of a shorter video is its last frame again, as there: such models were tested on those as
    well. ``available`` is at least 1. Raises ValueError where a count or the stride is below 1.
    """
    _check(max(available, frames), frames, stride)
    asked = frames * stride * rate / TARGET_FPS - 1
    last = max(Fraction(0), asked)
    indices = tuple(min(floor(i * last / max(1, frames - 1)), available - 1) for i in range(frames))
    return Sampling(indices, None, clamped=asked > available - 1)


def _check(available: int, frames: int, stride: int) -> None:
    if frames < 1 or stride < 1:
        raise ValueError(f"frames and stride are at least 1, got {frames} and {stride}")
    if available < frames:
        raise VideoError(f"too short: the clip needs {frames} frames, the video has {available}; give a longer video")
