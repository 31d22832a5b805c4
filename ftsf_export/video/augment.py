"""How the clips of a training vary from epoch to epoch: the recipe of the field for Kinetics, each part by itself.

TimeSformer and SlowFast train on clips from a random place of the video, resized so that the short side is 256 to 320
pixels, of which 224 x 224 are cropped at random. What is judged is never varied.

Letters: F frames, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import SEGMENTS
from ftsf_export.video.augmentation import Augmentation
from ftsf_export.video.clip import naming
from ftsf_export.video.decode import decode_frames, index_frames
from ftsf_export.video.preprocess import Floats, Frame, clip_of_resized, resized
from ftsf_export.video.sample import ends_of_segments, sampling_of
from ftsf_export.video.views import Box, crops_of

# How much of red, green and blue the eye takes for brightness (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def varied_clip(path: Path, how: Preprocessing, vary: Augmentation, rng: np.random.Generator) -> Floats:
    """x_FCHW of a video, varied by what ``rng`` draws: the same numbers give the same clip. Raises VideoError."""
    index = index_frames(path)
    with naming(path):
        numbers = (
            random_frames(how, len(index), index.rate, rng)
            if vary.temporal_offset
            else sampling_of(how, len(index), index.rate).indices
        )
    frames = decode_frames(index, numbers)
    with naming(path):
        return varied_frames(frames, how, vary, rng)


def random_frames(
    how: Preprocessing, available: int, rate: Fraction | None, rng: np.random.Generator
) -> tuple[int, ...]:
    """The frames of a clip that begins anywhere it fits; with "segments" one from anywhere in each part, as
    facebookresearch/TimeSformer trains (``datasets/ssv2.py``). Raises VideoError as ``sampling_of``."""
    if how.sampling == SEGMENTS:
        return tuple(
            int(rng.integers(*ends, endpoint=True)) for ends in pairwise(ends_of_segments(available, how.frames))
        )
    one = sampling_of(how, available, rate).indices
    start = int(rng.integers(available - one[-1] + one[0]))
    return tuple(number - one[0] + start for number in one)


def varied_frames(frames: list[Frame], how: Preprocessing, vary: Augmentation, rng: np.random.Generator) -> Floats:
    """RGB frames (height, width, 3) uint8 -> x_FCHW.

    Each part draws its own numbers, also where it is not used, so that switching one off leaves the others as they are.
    """
    scale, row, column, mirror = rng.random(4)
    factors, order = rng.uniform(-1, 1, 3), rng.permutation(3)
    low, high = vary.scale_jitter
    if high > 1:
        side = max(how.crop) if how.resize_short_side is not None else min(frames[0].shape[:2])
        how = replace(how, resize_short_side=round(side * (low + (high - low) * scale)))
    ready = [resized(frame, how) for frame in frames]
    height, width = ready[0].shape[:2]
    (box,) = crops_of(how, height, width, 1)
    if vary.random_crop:
        top, left = int(row * (height - box.height + 1)), int(column * (width - box.width + 1))
        box = Box(top, left, box.height, box.width)
    if vary.color_jitter:
        ready = _recoloured(ready, 1 + vary.color_jitter * factors, order)
    clip_FCHW = clip_of_resized(ready, how, box=box)
    return np.ascontiguousarray(clip_FCHW[..., ::-1]) if vary.flip and mirror < 0.5 else clip_FCHW


def _recoloured(
    frames: list[Frame | Floats], factors: npt.NDArray[Any], order: npt.NDArray[Any]
) -> list[Frame | Floats]:
    """Brightness, contrast and saturation of all frames times their factors, in that order of the three."""
    pixels_FHWC = np.stack(frames).astype(np.float32)
    for which in order:
        grey = pixels_FHWC @ _LUMA
        towards = (np.float32(0), grey.mean(), grey[..., None])[which]
        pixels_FHWC = np.clip(towards + np.float32(factors[which]) * (pixels_FHWC - towards), 0, 255)
    return list(pixels_FHWC)
