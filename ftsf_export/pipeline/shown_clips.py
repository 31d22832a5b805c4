"""The clips of videos for the report: frames as pictures, and what the reference and the graph make of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

import numpy as np

from ftsf_export.bundle import Preprocessing
from ftsf_export.class_scores import best_classes, scores_from_logits
from ftsf_export.parity.judge import Pair
from ftsf_export.pipeline.clips import JudgedClips
from ftsf_export.report import ShownClip, ShownFrame
from ftsf_export.video.thumbnails import shown_frames, thumbnails


def shown_clips(
    clips: JudgedClips, logits: Pair | None, how: Preprocessing, labels: Sequence[str] = ()
) -> tuple[ShownClip, ...]:
    """The judged clips of videos with both sides' best classes, by their ``logits`` (n, L).

    None where there are no logits to compare (None), or none that are finite. ``how`` made the clips.
    """
    if logits is None or not all(np.isfinite(side).all() for side in (logits.reference, logits.candidate)):
        return ()
    reference, graph = (scores_from_logits(side) for side in (logits.reference, logits.candidate))
    shown = []
    for index in clips.videos:
        clip = clips.values[index]
        pictures = zip(shown_frames(how.frames), thumbnails(clip, how), strict=True)
        shown.append(
            ShownClip(
                source=clips.sources[index],
                frames=tuple(ShownFrame(index=i, jpeg=b64encode(picture).decode()) for i, picture in pictures),
                clip_frames=how.frames,
                reference=best_classes(reference[index], labels),
                graph=best_classes(graph[index], labels),
            )
        )
    return tuple(shown)
