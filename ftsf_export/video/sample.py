"""Which frames of a video make a clip.

The field's way (TimeSformer's 8x32, SlowFast's TxS): T frames, S frames of the video apart, from its middle.
"""

from __future__ import annotations

from dataclasses import dataclass

from ftsf_export.errors import VideoError


@dataclass(frozen=True)
class Sampling:
    """Which frames make a clip."""

    indices: tuple[int, ...]  #: Of the frames, in order.
    stride: int  #: How many frames of the video they are apart.
    clamped: bool = False  #: Whether the video was too short for the stride that was asked for.

    def __str__(self) -> str:
        if len(self.indices) == 1:
            return f"frame {self.indices[0]}"
        return f"frames {self.indices[0]}..{self.indices[-1]} step {self.stride}"


def sample(available: int, frames: int, stride: int) -> Sampling:
    """``frames`` indices below ``available``, ``stride`` apart, centred in the video.

    A video too short for the stride is sampled as widely as it allows, evenly. One with fewer frames than the clip
    needs is refused: repeating frames would judge a clip that the model never sees in use.

    Raises:
        VideoError: fewer than ``frames`` are available.
        ValueError: a count or the stride is below 1.
    """
    if frames < 1 or stride < 1:
        raise ValueError(f"frames and stride are at least 1, got {frames} and {stride}")
    if available < frames:
        raise VideoError(f"too short: the clip needs {frames} frames, the video has {available}; give a longer video")
    widest = (available - 1) // (frames - 1) if frames > 1 else stride
    used = min(stride, widest)
    first = (available - 1 - (frames - 1) * used) // 2
    return Sampling(tuple(first + used * i for i in range(frames)), used, clamped=used < stride)
