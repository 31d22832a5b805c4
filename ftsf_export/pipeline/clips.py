"""The clips that an export is judged on: seeded noise, and frames of each video.

Letters: n clips, F frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.video.clip import clip_from_video

# Two at least: an exchange of two classes hides where one clip happens to score them alike.
LEAST_CLIPS = 2


@dataclass(frozen=True)
class JudgedClips:
    """The clips, and what they are."""

    values: npt.NDArray[np.float32]  #: (n, F, C, H, W) float32.
    sources: tuple[str, ...]  #: What each of the n clips is, in words.


def judged_clips(how: Preprocessing, *, seed: int, videos: Sequence[Path] = ()) -> JudgedClips:
    """One noise clip and one clip a video; noise alone where there is no video. Raises VideoError."""
    taken = [clip_from_video(path, how) for path in videos]
    count = max(1, LEAST_CLIPS - len(taken))
    noise = [noise_clip(how, seed=seed + index) for index in range(count)]
    return JudgedClips(
        values=np.stack([*noise, *(clip.values for clip in taken)]),
        sources=(*(f"noise seed {seed + index}" for index in range(count)), *(clip.source for clip in taken)),
    )


def noise_clip(how: Preprocessing, *, seed: int) -> npt.NDArray[np.float32]:
    """x_FCHW of independent pixels, uniform over the range that a video's pixels have, normalised alike."""
    pixels = np.random.default_rng(seed).random((how.frames, len(how.mean), *how.crop), dtype=np.float32)
    return how.normalisation.of(pixels)
