"""A clip's frames as small pictures: what the model saw, turned back from its numbers into pixels.

Letters: F frames, C channels, H height, W width.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import BGR
from ftsf_export.video.preprocess import import_pillow

# A row of eight on a page of 880 px; a picture of these sides takes three or four kilobytes.
MOST = 8
_SIDE_PX, _QUALITY = 104, 80


def shown_frames(frames: int) -> tuple[int, ...]:
    """Which of a clip's frames are shown: all of them, or ``MOST`` from the first to the last, evenly."""
    return tuple(round(i) for i in np.linspace(0, frames - 1, min(frames, MOST)))


def thumbnails(clip: npt.NDArray[Any], how: Preprocessing) -> tuple[bytes, ...]:
    """JPEG files of the shown frames, the long side ``_SIDE_PX`` at most.

    The normalisation and the order of colours of ``how`` are undone, nothing else: a clip whose colours are exchanged,
    or whose crop is off, shows it here. Raises EnvironmentLacks without Pillow.
    """
    image, filters = import_pillow()
    levels_FCHW, pictures = how.levels_of(clip), []
    for index in shown_frames(how.frames):
        pixels = np.rint(np.clip(levels_FCHW[index], 0, 255)).astype(np.uint8)
        ordered = pixels[::-1] if how.color_order == BGR else pixels
        picture = image.fromarray(np.ascontiguousarray(ordered.transpose(1, 2, 0)))
        picture.thumbnail((_SIDE_PX, _SIDE_PX), filters["bilinear"])
        file = BytesIO()
        picture.save(file, "JPEG", quality=_QUALITY)
        pictures.append(file.getvalue())
    return tuple(pictures)
