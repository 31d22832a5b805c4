"""The clips on which ranges of 8 bits are observed: of videos that the user names, else noise and what is judged.

They lie on the disk: hundreds of them are gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import Calibration
from ftsf_export.config import BatchRange, ExportConfig
from ftsf_export.disk import scratch_folder
from ftsf_export.errors import UsageError
from ftsf_export.pipeline.clips import JudgedClips
from ftsf_export.pipeline.held_out import on_disk
from ftsf_export.precision import precision_named
from ftsf_export.progress import OnProgress
from ftsf_export.video.class_folder import SUFFIXES
from ftsf_export.video.video_clips import clips_from_video


@dataclass(frozen=True)
class CalibrationClips:
    """Clips, and what they are."""

    values: npt.NDArray[Any]  #: (n, ...) as the graph takes them.
    record: Calibration  #: What the manifest says of them.
    batch: BatchRange  #: How many clips a call of the graph takes.

    def calls(self) -> Iterator[npt.NDArray[Any]]:
        """All clips, as many a call as the graph takes at least; the last call is filled up with the first clips."""
        size = self.batch.minimum
        for start in range(0, len(self.values), size):
            yield np.ascontiguousarray(self.values[np.arange(start, start + size) % len(self.values)])


def calibration_videos(sources: Sequence[Path]) -> tuple[Path, ...]:
    """The files of ``sources``, and the videos in folders, at any depth, sorted by name; each once.

    Raises UsageError for a source that is not there and for a folder without a video.
    """
    found: dict[Path, None] = {}
    for source in sources:
        if source.is_file():
            found[source] = None
            continue
        if not source.is_dir():
            raise UsageError(f"calibration_data: expected a video or a folder of videos, found none at {source}")
        inside = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
        if not inside:
            raise UsageError(f"calibration_data: {source}: expected videos ({', '.join(SUFFIXES)}), got none")
        found.update(dict.fromkeys(inside))
    return tuple(found)


def spread(files: int, clips: int) -> tuple[int, ...]:
    """How many of ``clips`` clips each of ``files`` files gives: as many as any other, or one more; with more files
    than clips some evenly spread files give one, and the others none."""
    ends = [clips * (place + 1) // files for place in range(files)]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


@contextmanager
def calibration_clips(
    config: ExportConfig, how: Preprocessing, judged: JudgedClips, on_progress: OnProgress
) -> Iterator[CalibrationClips | None]:
    """The clips, while it lasts; None for a precision that needs none.

    Raises UsageError as ``calibration_videos``, VideoError for a video that does not read, OutputError where the clips
    have no room among the temporary files.
    """
    if precision_named(config.precision).bits != 8:
        yield None
        return
    videos = calibration_videos(config.calibration_data)
    if not videos:
        values = np.concatenate((judged.values, np.stack([other.make() for other in judged.others])))
        record = Calibration(method=config.calibration, clips=len(values), videos=())
        yield CalibrationClips(values, record, config.batch)
        return
    shares = spread(len(videos), config.calibration_clips)
    with scratch_folder("ftsf-calibration-") as place:
        values = on_disk(place / "clips", (config.calibration_clips, *how.clip_shape), np.dtype(how.dtype))
        done = 0
        for video, share in zip(videos, shares, strict=True):
            if share:
                values[done : done + share] = clips_from_video(video, how, clips=share).values
                done += share
                on_progress("read the calibration videos", done / len(values))
        names = tuple(video.name for video, share in zip(videos, shares, strict=True) if share)
        yield CalibrationClips(
            values, Calibration(method=config.calibration, clips=len(values), videos=names), config.batch
        )
