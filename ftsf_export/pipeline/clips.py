"""The clips that an export is judged on: seeded noise, frames of each video, and what is made of them.

Those of videos and two at least are judged, in every module; two of them are kept in the bundle. The others are
different in content: the reference alone answers them, which tells how far apart the logits of different clips are.

Letters: n clips, F frames, H height, W width; a clip has its dimensions in the order that the graph takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.golden_video import GoldenVideo
from ftsf_export.video.clip import clip_from_video
from ftsf_export.video.decode import Frame
from ftsf_export.video.stages import golden_video, made_of

# Two at least: an exchange of two classes hides where one clip happens to score them alike. Two at most: with them the
# reference values of 8 frames of 224 px take 11 MB.
KEPT_CLIPS = 2
LEAST_CLIPS = 8
# Side in pixels of the squares of one value, of which noise is made.
_GRAIN, _COARSE_GRAINS = 4, (16, 64)
_DARK = 0.25

Clip = npt.NDArray[Any]


@dataclass(frozen=True)
class OtherClip:
    """A clip that is made when it is needed: all of them at once would be gigabytes of a large model."""

    source: str  #: What it is, in words.
    make: Callable[[], Clip]  #: Gives it in the form of the judged ones.


@dataclass(frozen=True)
class JudgedClips:
    """The clips, and what they are."""

    values: Clip  #: (n, ...) as the graph takes them, the judged ones; the first ``KEPT_CLIPS`` are kept.
    sources: tuple[str, ...]  #: What each of the n clips is, in words.
    others: tuple[OtherClip, ...] = ()  #: Clips of other content, which the reference alone answers.
    videos: range = range(0)  #: Which of the n clips are of videos.
    video: GoldenVideo | None = None  #: The first of them, as it is kept; None where there is none.
    frames: tuple[Frame, ...] = ()  #: The decoded frames of that one.


def judged_clips(how: Preprocessing, *, seed: int, videos: Sequence[Path] = ()) -> JudgedClips:
    """Noise and every video are judged (noise of another grain, where there is none); noise of several scales, and the
    second clip reversed, shifted and standing still are beside them. Raises VideoError."""
    judged = [(_noise_source(seed), noise_clip(how, seed=seed))]
    made = made_of(videos[0], how) if videos else None
    if made is not None:
        judged.append((made.source, made.clip))
    judged += [(clip.source, clip.values) for clip in (clip_from_video(path, how) for path in videos[1:])]
    if not videos:
        judged.append((_noise_source(seed + 1, _GRAIN), noise_clip(how, seed=seed + 1, grain=_GRAIN)))
    others = _moved(*judged[1], how)
    for index, grain in enumerate(_COARSE_GRAINS, start=2):
        make = partial(noise_clip, how, seed=seed + index, grain=grain)
        others.append(OtherClip(_noise_source(seed + index, grain), make))
    others.append(OtherClip(f"noise seed {seed}, dark", lambda: noise_clip(how, seed=seed, most=_DARK)))
    for index in range(seed + 4, seed + 4 + LEAST_CLIPS - len(judged) - len(others)):
        others.append(OtherClip(_noise_source(index), partial(noise_clip, how, seed=index)))
    sources, values = zip(*judged, strict=True)
    kept = None if made is None else golden_video(videos[0], made.stages, clip=1)
    frames = () if made is None else made.frames
    return JudgedClips(np.stack(values), sources, tuple(others), range(1, 1 + len(videos)), kept, frames)


def noise_clip(how: Preprocessing, *, seed: int, grain: int = 1, most: float = 1.0) -> Clip:
    """A clip of independent squares of ``grain`` pixels, uniform over the range that a video's pixels have, or over its
    part up to ``most``, prepared alike."""
    height, width = how.crop
    cells = (how.frames, len(how.mean), -(-height // grain), -(-width // grain))
    pixels = np.random.default_rng(seed).random(cells, dtype=np.float32) * np.float32(255 * most)
    return how.clip_of(pixels.repeat(grain, axis=2).repeat(grain, axis=3)[:, :, :height, :width])


def _moved(source: str, clip: Clip, how: Preprocessing) -> list[OtherClip]:
    """The clip played backwards, half a frame aside, and standing still; one frame has no order."""
    height, width = how.crop
    time, places = how.axis("F"), (how.axis("H"), how.axis("W"))
    shifted = OtherClip(
        f"{source}, shifted by half a frame", lambda: np.roll(clip, (height // 2, width // 2), axis=places)
    )
    if how.frames == 1:
        return [shifted]
    first = [0] * how.frames
    still = OtherClip(f"{source}, its first frame alone", lambda: np.take(clip, first, axis=time))
    return [OtherClip(f"{source}, reversed", lambda: np.flip(clip, axis=time)), shifted, still]


def _noise_source(seed: int, grain: int = 1) -> str:
    return f"noise seed {seed}" + (f", squares of {grain} px" if grain > 1 else "")
