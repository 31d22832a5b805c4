"""Clips of real videos as facebookresearch/TimeSformer and mmaction2 make them, to one grey level.

The steps are those of their loaders, in PyTorch, which the original calls for them: indices by ``linspace`` over the
seconds of a clip or from equal parts of a video, bilinear interpolation of normalised frames, a crop at the centre.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ftsf_export.bundle import Preprocessing
from ftsf_export.video.clip import clip_from_video
from ftsf_export.video.sample import segments, spread

MEAN, STD = 0.45, 0.225
GREY = 1 / 255 / STD
VIDEOS = ("bikes.mp4", "carphone_pristine.mp4", "bigbuckbunny.mp4")


def decoded(path: Path) -> tuple[Tensor, float]:
    """All frames (n, H, W, 3) uint8 RGB, and how many come in a second."""
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate or 0)
        return torch.from_numpy(np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])), rate


def resized_and_cropped(frames_FHWC: Tensor, side: int, crop: int, *, up: bool) -> Tensor:
    """(F, C, crop, crop) of normalised frames; ``up``: which way half a pixel of the corner goes."""
    normal = ((frames_FHWC.float() / 255) - MEAN) / STD
    _, height, width, _ = frames_FHWC.shape
    longer = math.floor(max(height, width) / min(height, width) * side)
    size = (side, longer) if height <= width else (longer, side)
    out = interpolate(normal.permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=False)
    top, left = ((math.ceil if up else math.floor)((have - crop) / 2) for have in out.shape[-2:])
    return out[..., top : top + crop, left : left + crop]


def how(frames: int, crop: int, side: int | None = None, **changes: Any) -> Preprocessing:
    statistics = {"mean": (MEAN,) * 3, "std": (STD,) * 3}
    return Preprocessing(frames, changes.pop("stride", 32), side or crop, (crop, crop), **statistics, **changes)  # type: ignore[arg-type]


def check(got: Any, expected: Tensor) -> None:
    assert tuple(got.shape) == tuple(expected.shape)
    assert float(np.abs(got - expected.numpy()).max()) <= GREY


@pytest.mark.parametrize(
    ("name", "frames", "stride", "crop"),
    [
        (VIDEOS[0], 8, 32, 224),
        (VIDEOS[0], 16, 16, 56),
        (VIDEOS[0], 96, 2, 57),
        (VIDEOS[1], 8, 32, 56),
        (VIDEOS[2], 8, 32, 56),
    ],
)
def test_kinetics(real_videos: Path, name: str, frames: int, stride: int, crop: int) -> None:
    """The second and the third video are shorter than the clip."""
    path = real_videos / name
    all_frames, rate = decoded(path)
    length = frames * stride * rate / 30
    indices = torch.linspace(0, length - 1, frames).clamp(0, len(all_frames) - 1).long()
    got = clip_from_video(path, how(frames, crop, stride=stride, sampling="spread", resizer="torch"))
    check(got.values, resized_and_cropped(all_frames[indices], crop, crop, up=True))
    if crop == 57:
        pillow = clip_from_video(path, how(frames, crop, stride=stride, sampling="spread"))
        assert np.abs(pillow.values - got.values).max() > 20 * GREY, "Pillow's filter is antialiased"


@pytest.mark.parametrize(
    ("name", "frames"),
    [(VIDEOS[0], 64), (VIDEOS[1], 8), (VIDEOS[1], 200), (VIDEOS[2], 8)],
)
def test_something_something(real_videos: Path, name: str, frames: int) -> None:
    path = real_videos / name
    all_frames, _ = decoded(path)
    indices = original_segments(len(all_frames), frames)
    got = clip_from_video(path, how(frames, 56, sampling="segments", resizer="torch", color_order="BGR"))
    check(got.values, resized_and_cropped(all_frames[indices].flip(-1), 56, 56, up=True))


def original_segments(available: int, frames: int) -> Sequence[int]:
    width = float(available - 1) / frames
    ends = [int(np.round(width * part)) for part in range(frames + 1)]
    return [(ends[part] + ends[part + 1]) // 2 for part in range(frames)]


@pytest.mark.parametrize("available", [1, 2, 7, 8, 12, 45, 46, 250])
@pytest.mark.parametrize("frames", [1, 8, 16, 64])
def test_segments_of_any_video(available: int, frames: int) -> None:
    """Also of one that is shorter than the clip: Something-Something has videos of a second."""
    taken = segments(available, frames)
    assert list(taken.indices) == original_segments(available, frames)
    assert taken.clamped is (available < frames)


@pytest.mark.parametrize("available", [1, 3, 45, 250, 251])
@pytest.mark.parametrize(("frames", "stride"), [(1, 32), (8, 32), (16, 16), (96, 2)])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(60)])
def test_a_spread_of_any_video(available: int, frames: int, stride: int, rate: Fraction) -> None:
    """Also of one that is shorter than the clip, whose last frame is repeated."""
    length = frames * stride * rate / 30
    expected = torch.linspace(0, float(length - 1), frames, dtype=torch.float64).clamp(0, available - 1).long()
    taken = spread(available, frames, stride, rate)
    assert list(taken.indices) == expected.tolist()
    assert taken.clamped is (length > available)


@pytest.mark.parametrize("name", VIDEOS[:2])
def test_mmaction2(real_videos: Path, name: str) -> None:
    """OpenCV interpolates alike, on uint8; the long side is rounded to the nearest number, the corner down."""
    path = real_videos / name
    all_frames, _ = decoded(path)
    indices = [place * 4 + (len(all_frames) - 1 - 28) // 2 for place in range(8)]
    got = clip_from_video(path, how(8, 57, 60, stride=4, resizer="opencv"))
    height, width = all_frames.shape[1:3]
    size = tuple(int(side * 60 / min(height, width) + 0.5) for side in (height, width))
    pixels = interpolate(all_frames[indices].permute(0, 3, 1, 2).float(), size=size, mode="bilinear")
    top, left = ((side - 57) // 2 for side in size)
    check(got.values, (pixels[..., top : top + 57, left : left + 57] / 255 - MEAN) / STD)
