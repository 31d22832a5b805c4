"""Frames as the model gets them, beside those of the checkpoint's own processor and beside what the export made.

All distances are in grey levels, of 256 between black and white. Letters: F frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.golden_video import ClipStages
from ftsf_export.network.gates import PARITY_PREPROCESSING, PREPROCESSING
from ftsf_export.verdict import Measure, Status, Subject, Verdict

# Of any value, and of their mean: what two ways of rounding may differ by, and no other filter, crop or colour does.
MOST_LEVELS, MOST_MEAN_LEVELS = 1.0, 0.1
# Both sides compute in FP32.
_SLACK = 1e-3
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tensors:
    """One clip by both sides."""

    what: str  #: Of the frames: "bikes.mp4, 640x272".
    ours: Array  #: (F, C, H, W), normalised.
    theirs: Array  #: (F, C, H, W), normalised.


def judge_processor(pairs: Sequence[Tensors], std: Sequence[float], subject: Subject) -> Verdict:
    """Our tensors held against the checkpoint's own processor's. ``std``: of pixels in [0, 1], one figure a channel."""
    levels = 255 * np.asarray(std, np.float32).reshape(-1, 1, 1)
    measures = [measure for pair in pairs for measure in _apart(pair.what, pair.ours * levels, pair.theirs * levels)]
    return _verdict(PARITY_PREPROCESSING.verdict, subject, measures, "differs from the checkpoint's own processor")


def judge_remade(
    kept: tuple[ClipStages, Array],
    made: tuple[ClipStages, Array],
    how: Preprocessing,
    subject: Subject,
    graph: Mapping[str, Status] | None = None,
) -> Verdict:
    """A clip that was made again, stage by stage, held against the one that is kept; the first stage that departs is
    named.

    Each side: the stages, and the clip as the graph takes it. ``graph``: the verdicts on what follows, by their gates.
    """
    (before, clip), (now, again) = kept, made
    frames = set(before.indices) ^ set(now.indices) or before.indices != now.indices
    measures = [
        _count("decode", "frames more or fewer", abs(before.available - now.available)),
        Measure(output="decode", metric="other digest", value=float(before.decoded_sha256 != now.decoded_sha256)),
        *_stage("decode", 0, before, now, "decoded"),
        _count("sample", "other frames", float(bool(frames))),
        *_stage("resize", 1, before, now, "resized"),
        *_stage("crop", 2, before, now, "cropped"),
        *_apart("normalise", how.levels_of(again), how.levels_of(clip)),
        *(_count("graph", gate, float(status is Status.FAILED)) for gate, status in (graph or {}).items()),
    ]
    return _verdict(PREPROCESSING.verdict, subject, measures, "is the first stage that departs from the export's")


def _stage(name: str, place: int, before: ClipStages, now: ClipStages, values: str) -> Iterable[Measure]:
    other_size = before.sizes[place].tolist() != now.sizes[place].tolist()
    yield _count(name, "other size", float(other_size))
    yield from _apart(name, getattr(now, values), getattr(before, values))


def _apart(name: str, ours: Array, theirs: Array) -> Iterable[Measure]:
    if ours.shape != theirs.shape:
        yield _count(name, "other shape", 1.0)
        return
    apart = np.abs(ours.astype(np.float64) - theirs)
    for metric, value, limit in (
        ("worst grey levels", apart.max(), MOST_LEVELS), ("mean grey levels", apart.mean(), MOST_MEAN_LEVELS),
    ):  # fmt: skip
        yield Measure(output=name, metric=metric, value=float(value), limit=limit + _SLACK)


def _count(name: str, metric: str, value: float) -> Measure:
    return Measure(output=name, metric=metric, value=value, limit=0)


def _verdict(verdict: Any, subject: Subject, measures: Sequence[Measure], said: str) -> Verdict:
    worst = next((one for one in measures if not one.passed), None)
    if worst is None:
        found: Verdict = verdict(subject, Status.PASSED, "", measures)
        return found
    failed: Verdict = verdict(subject, Status.FAILED, f"{worst.output} {said}: {worst.sentence()}", measures)
    return failed
