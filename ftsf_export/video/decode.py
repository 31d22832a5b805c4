"""Frames of a video by exact index, with PyAV.

Frame ``i`` is the i-th frame that decoding from the start gives, whatever the container says: headers count frames
that never decode, and seeking by time lands on the wrong frame where B-frames or variable frame rates are (which is
how approximate readers go wrong). So the index is made by decoding once, and frames are fetched by decoding again
up to the last one wanted; each must carry the timestamp that the index noted.

A video may come from anybody, and FFmpeg opens what a file tells it to: see ``video/container.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.errors import EnvironmentLacks, VideoError
from ftsf_export.video.container import DEMUXERS, open_container

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a video that really decode."""

    path: Path  #: The video.
    #: One a frame, in decoded order, in units of ``time_base``; None where the container has none.
    timestamps: tuple[int | None, ...]
    time_base: Fraction  #: In seconds.
    rate: Fraction | None = None  #: Frames a second on average, as the container says it; None where it does not.

    def __len__(self) -> int:
        return len(self.timestamps)


def index_frames(path: str | Path) -> FrameIndex:
    """Decodes the whole video once. Raises VideoError when it cannot be read, is damaged or holds no frame."""
    path = Path(path)
    with _open(path) as (stream, frames):
        timestamps = tuple(frame.pts for frame in frames)
        time_base, rate = Fraction(stream.time_base or 1), stream.average_rate
    if not timestamps:
        raise VideoError(f"{path}: expected a video with at least one frame, got none that decodes")
    return FrameIndex(path, timestamps, time_base, Fraction(rate) if rate else None)


def decode_frames(index: FrameIndex, wanted: Sequence[int]) -> list[Frame]:
    """RGB frames (height, width, 3) uint8, upright, one for each of ``wanted`` and in its order.

    Raises:
        VideoError: a frame that the video does not have, or a file that changed since it was indexed.
    """
    for number in wanted:
        if not 0 <= number < len(index):
            raise VideoError(f"{index.path}: frame {number} expected, but its frames are 0 to {len(index) - 1}")
    needed = set(wanted)
    found: dict[int, Frame] = {}
    with _open(index.path) as (_, frames):
        upright = Upright()
        for number, frame in enumerate(frames):
            if number in needed:
                if number >= len(index) or frame.pts != index.timestamps[number]:
                    raise VideoError(f"{index.path}: frame {number} is not the one that was indexed; the file changed")
                found[number] = upright(frame)
                if len(found) == len(needed):
                    break
    if len(found) < len(needed):
        raise VideoError(f"{index.path}: frame {min(needed - set(found))} no longer decodes; the file changed")
    return [found[number] for number in wanted]


class Upright:
    """RGB with the container's rotation applied: phones record sideways and say so. One for all frames of a video.

    ``rotation`` is counterclockwise in degrees (FFmpeg's av_display_rotation_get), and so is np.rot90. Mirroring and
    pixels that are not square are left as they are, as the training pipelines of the field leave them.
    """

    def __init__(self) -> None:
        # ``frame.to_ndarray(format="rgb24")`` makes a converter for each frame, which takes as long as converting.
        self._reformatter = import_av().video.reformatter.VideoReformatter()

    def __call__(self, frame: Any) -> Frame:
        pixels = self._reformatter.reformat(frame, format="rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Iterator[Any]]]:
    """The first video stream and its decoded frames; PyAV's errors become VideoError here."""
    av = import_av()
    seen = 0

    def counted(container: Any, stream: Any) -> Iterator[Any]:
        nonlocal seen
        for frame in container.decode(stream):
            seen += 1
            yield frame

    try:
        with open_container(av, path) as container:
            stream = container.streams.video[0]
            yield stream, counted(container, stream)
    except (av.FFmpegError, OSError) as error:
        raise unreadable(path, error, seen) from error


def unreadable(path: Path, error: Exception, seen: int = 0) -> VideoError:
    """What an error of PyAV or of the system says of a video of which ``seen`` frames were read before."""
    reason = getattr(error, "strerror", None) or str(error)
    where = f"damaged after {seen} frames" if seen else f"not a readable video of {', '.join(DEMUXERS)}"
    return VideoError(f"{path}: {where} ({reason}); give another file or repair this one", details=str(error))


def import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise EnvironmentLacks("reading a video needs PyAV", extra="video", details=str(error)) from error
    return av
