"""Small pictures of what a model saw."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ftsf_export.bundle import Preprocessing
from ftsf_export.video.preprocess import preprocess
from ftsf_export.video.thumbnails import MOST, shown_frames, thumbnails

HOW = Preprocessing(3, 1, None, (64, 96), (0.4, 0.45, 0.5), (0.2, 0.225, 0.25))


def frames() -> list[np.ndarray[Any, Any]]:
    """Left half red, right half blue, the brighter the later."""
    made = np.zeros((3, 64, 96, 3), np.uint8)
    for index, frame in enumerate(made):
        frame[:, :48, 0] = frame[:, 48:, 2] = 100 + 50 * index
    return list(made)


def opened(picture: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(BytesIO(picture)).convert("RGB"), np.int64)


@pytest.mark.parametrize("changes", [{}, {"dtype": "uint8", "layout": "FHWC", "mean": (0,) * 3, "std": (1,) * 3}])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_pictures_are_the_frames_that_the_numbers_came_from(order: str, changes: dict[str, Any]) -> None:
    how = replace(HOW, color_order=order, **changes)
    for picture, frame in zip(thumbnails(preprocess(frames(), how), how), frames(), strict=True):
        near = opened(picture)
        assert near.shape == (64, 96, 3)
        # Away from the edge, where JPEG mixes the colours.
        assert abs(near - frame)[:, np.r_[0:32, 64:96]].max() <= 6


def test_a_clip_with_exchanged_colours_shows_it() -> None:
    picture = thumbnails(preprocess(frames(), HOW)[:, ::-1], replace(HOW, mean=HOW.mean[::-1], std=HOW.std[::-1]))[2]
    assert (opened(picture)[32, 16].argmax(), opened(picture)[32, 80].argmax()) == (2, 0)


def test_of_many_frames_eight_are_shown_from_the_first_to_the_last() -> None:
    assert shown_frames(3) == (0, 1, 2)
    assert (len(shown_frames(96)), shown_frames(96)[0], shown_frames(96)[-1]) == (MOST, 0, 95)
    how = replace(HOW, frames=20)
    pictures = thumbnails(np.zeros((20, 3, 64, 224), np.float32), how)
    assert len(pictures) == MOST
    assert opened(pictures[0]).shape[1] <= 104
