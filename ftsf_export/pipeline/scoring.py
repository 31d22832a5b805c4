"""Calls of the model, filled with the views of the videos that were read, and their scores.

Letters: V views of a video, L classes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.class_scores import scores_from_logits
from ftsf_export.pipeline.classifier import Classifier
from ftsf_export.video.readers import VideoReaders
from ftsf_export.video.video_clips import VideoClips


@dataclass(frozen=True)
class VideoScores:
    """What the model makes of one video."""

    #: (L,), the mean over the views of the scores after softmax, as facebookresearch/TimeSformer is tested
    #: (``tools/test_net.py``; outside training its model ends with softmax).
    scores: npt.NDArray[np.float64]
    frames: tuple[tuple[int, ...], ...]  #: Numbers of the frames of each view.
    decoded: int  #: How many frames of the video decode.
    warnings: tuple[str, ...]  #: What is wrong with the file although it was read.


@dataclass(frozen=True)
class Scored:
    """One video that is done."""

    place: int  #: Among those that are read.
    outcome: VideoScores | str  #: Its scores, or why there are none, in one line that names the file.


@dataclass
class _Waiting:
    """A video some of whose views were not scored yet."""

    place: int
    name: str
    clips: VideoClips
    logits: list[npt.NDArray[Any]] = field(default_factory=list)

    def done(self) -> Scored:
        clips = self.clips
        logits_VL = np.stack(self.logits)
        if not np.isfinite(logits_VL).all():
            return Scored(self.place, f"{self.name}: the model's answer is not finite (NaN or infinity)")
        scores_L = scores_from_logits(logits_VL).mean(axis=0)
        return Scored(self.place, VideoScores(scores_L, clips.frames, clips.available, clips.warnings))


def scored_videos(readers: VideoReaders, classifier: Classifier) -> Iterator[Scored]:
    """Each video that ``readers`` gives, once, as soon as it is done. Raises RunError where the model does not run.

    A call holds the usual number of clips, of several videos; fewer where no more were read by then.
    """
    batch = classifier.batch
    views: deque[tuple[_Waiting, int]] = deque()
    for read in readers:
        if isinstance(read.outcome, VideoClips):
            waiting = _Waiting(read.place, str(read.path), read.outcome)
            views.extend((waiting, view) for view in range(len(read.outcome.values)))
        else:
            yield Scored(read.place, read.outcome.message)
        while len(views) >= batch.optimum or (len(views) >= batch.minimum and not readers.waiting()):
            yield from _called(views, classifier)
    while views:
        yield from _called(views, classifier)


def _called(views: deque[tuple[_Waiting, int]], classifier: Classifier) -> Iterator[Scored]:
    """One call with the first of ``views``, and the videos that are done by it."""
    taken = [views.popleft() for _ in range(min(len(views), classifier.batch.optimum))]
    logits = classifier.logits(np.stack([video.clips.values[view] for video, view in taken]))
    for (video, _), row in zip(taken, logits, strict=True):
        video.logits.append(row)
        if len(video.logits) == len(video.clips.values):
            yield video.done()
