"""From RGB frames to the numbers that a model takes, as the models were trained: resize, crop, scale, normalise.

Letters: F frames, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import BGR, OPENCV, PILLOW, TORCH
from ftsf_export.errors import EnvironmentLacks, VideoError
from ftsf_export.video.views import Box, crops_of

Frame = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def preprocess(frames: Sequence[Frame], how: Preprocessing) -> npt.NDArray[Any]:
    """RGB frames (height, width, 3) uint8 -> a clip as the graph takes it: contiguous, channels, type and dimensions as
    ``how`` says, float32 (F, C, H, W) unless it says otherwise.

    The short side is resized and the centre is cropped, by the arithmetic of ``how.resizer``:

    - "pillow": Pillow's antialiased filter on uint8; the long side and the corner of the crop are rounded down, as
      Hugging Face's Pillow processor of TimeSformer does it (its tests hold the two against each other).
    - "torch": bilinear without antialiasing, not rounded to uint8; the long side is rounded down, the corner up
      (facebookresearch/TimeSformer, ``datasets/transform.py``).
    - "opencv": bilinear without antialiasing, rounded to uint8; the long side is rounded to the nearest number, the
      corner down (mmaction2's ``Resize`` and ``CenterCrop``).

    Raises:
        VideoError: a frame smaller than the crop, or a model that takes other than three channels.
    """
    return clip_of_resized([resized(frame, how) for frame in frames], how)


def clip_of_resized(
    frames: Sequence[Frame | Floats], how: Preprocessing, *, crop: int = 0, crops: int = 1, box: Box | None = None
) -> npt.NDArray[Any]:
    """What is left of ``preprocess`` after ``resized``: crop, scale, normalise. Raises as it does.

    ``crop`` is one of the boxes that ``views.crops_of`` has for as many ``crops``; ``box`` takes its place.
    """
    parts = [cropped(frame, box or _box(frame, how, crop, crops)) for frame in frames]
    return clip_of_cropped(parts, how)


def clip_of_cropped(frames: Sequence[Frame | Floats], how: Preprocessing) -> npt.NDArray[Any]:
    """What is left of ``preprocess`` after ``cropped``: order of colours, scale, normalise. Raises as it does."""
    if len(how.mean) != 3:
        raise VideoError(f"a video gives 3 channels, the model takes {len(how.mean)}; it can be judged on noise only")
    pixels_FHWC = np.stack(frames)
    if how.color_order == BGR:
        pixels_FHWC = pixels_FHWC[..., ::-1]
    return how.clip_of(pixels_FHWC.transpose(0, 3, 1, 2))


def resized(frame: Frame, how: Preprocessing) -> Frame | Floats:
    """The short side becomes ``resize_short_side``; the long side follows. A stream does so with each frame once."""
    target = how.resize_short_side
    height, width = frame.shape[:2]
    if target is None or min(height, width) == target:
        return frame
    size = (target, _long_side(width, height, target, how.resizer))
    height, width = size if height <= width else size[::-1]
    if how.resizer == PILLOW:
        image, filters = import_pillow()
        if how.resample not in filters:
            raise VideoError(f"resample: expected one of {', '.join(sorted(filters))}, got {how.resample!r}")
        return np.asarray(image.fromarray(frame).resize((width, height), filters[how.resample]))
    values = _bilinear(_bilinear(frame, height, axis=0), width, axis=1)
    return np.rint(values).astype(np.uint8) if how.resizer == OPENCV else values


def _long_side(width: int, height: int, target: int, resizer: str) -> int:
    short, long = sorted((height, width))
    if resizer == TORCH:
        # In its own order of operations: 16/9 of 252 is 447 in double precision.
        return math.floor(long / short * target)
    return int(long * (target / short) + 0.5) if resizer == OPENCV else target * long // short


def _bilinear(values: Frame | Floats, wanted: int, *, axis: int) -> Floats:
    """Linear interpolation between the two nearest, pixels being areas (PyTorch's ``align_corners=False``)."""
    there = values.shape[axis]
    places = np.maximum((np.arange(wanted) + 0.5) * (there / wanted) - 0.5, 0)
    below = np.minimum(places.astype(np.int64), there - 1)
    share = (places - below).astype(np.float32).reshape(-1, *(1,) * (2 - axis))
    low = values.take(below, axis).astype(np.float32)
    high = values.take(np.minimum(below + 1, there - 1), axis).astype(np.float32)
    mixed: Floats = low + (high - low) * share
    return mixed


def _box(frame: Frame | Floats, how: Preprocessing, crop: int, crops: int) -> Box:
    height, width = frame.shape[:2]
    return crops_of(how, height, width, crops)[crop]


def centre(frame: Frame | Floats, how: Preprocessing) -> Frame | Floats:
    """The crop of a resized frame. Raises VideoError for one that is smaller."""
    return cropped(frame, _box(frame, how, 0, 1))


def cropped(frame: Frame | Floats, box: Box) -> Frame | Floats:
    return frame[box.top : box.top + box.height, box.left : box.left + box.width]


def import_pillow() -> tuple[Any, dict[str, Any]]:
    """Pillow's Image module, and its filters by name. Raises EnvironmentLacks without Pillow."""
    try:
        from PIL import Image
    except ImportError as error:
        raise EnvironmentLacks("resizing a video needs Pillow", extra="video", details=str(error)) from error
    return Image, {filter.name.lower(): filter for filter in Image.Resampling}
