"""All clips of one video that a model scores, from one pass over the file.

Letters: V views (clips and crops of the video), and those of one clip behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import STRIDE, UNIFORM
from ftsf_export.errors import ConfigError, VideoError
from ftsf_export.video.one_pass import take_frames
from ftsf_export.video.preprocess import clip_of_resized, resized
from ftsf_export.video.sample import Sampling, uniform
from ftsf_export.video.views import clips_of


@dataclass(frozen=True)
class VideoClips:
    """What a model sees of one video."""

    values: npt.NDArray[Any]  #: (V, ...), each a clip as the graph takes it.
    frames: tuple[tuple[int, ...], ...]  #: Numbers of the frames of each view.
    available: int  #: How many frames of the video decode.
    decodings: int  #: How often the file was decoded.
    warnings: tuple[str, ...]  #: What is wrong with the file although it was read.


def sampled_as(how: Preprocessing, sampling: str | None) -> Preprocessing:
    """``how`` with the sampling that a user writes: "uniform", "stride:S", or None for its own. Raises ConfigError."""
    if sampling is None:
        return how
    if sampling == UNIFORM:
        return replace(how, sampling=UNIFORM)
    name, _, stride = sampling.partition(":")
    if name != STRIDE or not (stride.isascii() and stride.isdigit() and 0 < len(stride) < 7 and int(stride)):
        raise ConfigError([f"sampling: expected uniform or stride:S (frames of the video apart), got {sampling!r}"])
    return replace(how, sampling=STRIDE, stride=int(stride))


def clips_from_video(path: Path, how: Preprocessing, *, clips: int = 1, crops: int = 1, threads: int = 1) -> VideoClips:
    """Decodes, samples and preprocesses ``path``: ``crops`` views of each of ``clips`` clips (``video.views``).

    A frame that several views have is decoded and resized once. A video with too few frames for a clip gives some of
    them more than once, and a warning says so. Raises VideoError naming the file, and ConfigError for numbers that are
    none of views.
    """

    def wanted(available: int, rate: Fraction | None) -> set[int]:
        return {number for clip in _samplings(how, available, rate, clips) for number in clip.indices}

    try:
        taken = take_frames(path, wanted, lambda frame: resized(frame, how), threads=threads)
        samplings = _samplings(how, taken.available, taken.rate, clips)
        values = np.stack(
            [
                clip_of_resized([taken.frames[number] for number in clip.indices], how, crop=crop, crops=crops)
                for clip in samplings
                for crop in range(crops)
            ]
        )
    except VideoError as error:
        named = error.message.startswith(f"{path}: ")
        raise error if named else VideoError(f"{path}: {error.message}", details=error.details) from error
    frames = tuple(clip.indices for clip in samplings for _ in range(crops))
    warnings = (*taken.warnings, *_repeats(samplings, taken.available))
    return VideoClips(values, frames, taken.available, taken.decodings, warnings)


def _samplings(how: Preprocessing, available: int, rate: Fraction | None, clips: int) -> tuple[Sampling, ...]:
    try:
        return clips_of(how, available, rate, clips)
    except VideoError:
        # The way of the manifest refuses a video that has fewer frames than a clip.
        return (uniform(available, how.frames),) * clips


def _repeats(samplings: Iterable[Sampling], available: int) -> Iterable[str]:
    if any(len(set(clip.indices)) < len(clip.indices) for clip in samplings):
        yield f"short: it has {available} frames, so some were taken more than once"
