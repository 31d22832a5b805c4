"""From RGB frames to the numbers that a model takes, as the models were trained: resize, crop, scale, normalise.

Letters: F frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.errors import EnvironmentLacks, VideoError

Frame = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def preprocess(frames: Sequence[Frame], how: Preprocessing) -> Floats:
    """RGB frames (height, width, 3) uint8 -> x_FCHW float32, contiguous.

    The short side is resized on uint8 with Pillow's antialiased filter, as Hugging Face's Pillow processor of
    TimeSformer does (its tests hold the two against each other), then the centre is cropped.

    Raises:
        VideoError: a frame smaller than the crop, or a model that takes other than three channels.
    """
    if len(how.mean) != 3:
        raise VideoError(f"a video gives 3 channels, the model takes {len(how.mean)}; it can be judged on noise only")
    pixels_FHWC = np.stack([_crop(_resize(frame, how), how.crop) for frame in frames])
    scaled = pixels_FHWC.astype(np.float32) / np.float32(255)
    normalised = (scaled - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))


def _resize(frame: Frame, how: Preprocessing) -> Frame:
    """The short side becomes ``resize_short_side``; the long side follows, rounded down."""
    target = how.resize_short_side
    height, width = frame.shape[:2]
    if target is None or min(height, width) == target:
        return frame
    image, resample = _import_pillow(how.resample)
    if height <= width:
        size = (target * width // height, target)
    else:
        size = (target, target * height // width)
    return np.asarray(image.fromarray(frame).resize(size, resample))


def _crop(frame: Frame, crop: tuple[int, int]) -> Frame:
    """The centre, (height, width)."""
    height, width = frame.shape[:2]
    if height < crop[0] or width < crop[1]:
        raise VideoError(f"a frame of {height}x{width} pixels is smaller than the crop of {crop[0]}x{crop[1]}")
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    return frame[top : top + crop[0], left : left + crop[1]]


def _import_pillow(resample: str) -> tuple[Any, Any]:
    """Pillow's Image module, and its filter of that name."""
    try:
        from PIL import Image
    except ImportError as error:
        raise EnvironmentLacks("resizing a video needs Pillow", extra="video", details=str(error)) from error
    filters = {filter.name.lower(): filter for filter in Image.Resampling}
    if resample not in filters:
        raise VideoError(f"resample: expected one of {', '.join(sorted(filters))}, got {resample!r}")
    return Image, filters[resample]
