"""How often the graph and eager PyTorch put the same class first, on held-out videos by class.

Parity asks how far single numbers are apart, on a few clips; this asks what it means for the model's answers, on many,
and how often the answers are right. Clips lie on the disk meanwhile: hundreds of them are gigabytes.

Letters: n clips, F frames, C channels, H height, W width, L classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing, sha256_of
from ftsf_export.config import BatchRange
from ftsf_export.parity.compare import ONE, collect
from ftsf_export.parity.distances import check_comparable, flips, nonfinite, top_k_overlap
from ftsf_export.parity.locate import LOGITS
from ftsf_export.pipeline.gates import FP32, judged_form
from ftsf_export.progress import OnProgress
from ftsf_export.verdict import Measure, Status, Verdict
from ftsf_export.video.class_folder import class_folder
from ftsf_export.video.clip import clip_from_video

# Share of the clips whose best class must stay. Trained models are sure of most clips; those in doubt between two
# classes may fall either way once the scores are rounded, the more the fewer bits there are.
LEAST_TOP1 = {"fp32": 0.998, "fp16": 0.99, "bf16": 0.97}
_TOP = 5
_CALL = 64


def agreement_gate(precision: str) -> str:
    """As ``onnx_gate``: half precision is judged on the cast-emulated graph."""
    return "agreement.onnx-fp32" if precision == FP32 else f"agreement.{precision}-emulated"


@dataclass(frozen=True)
class HeldOut:
    """``values`` (n, F, C, H, W) float32, on the disk; ``classes`` (n,): places in the labels, None where unknown."""

    values: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64] | None

    def calls(self) -> Iterator[npt.NDArray[np.float32]]:
        """Clips of one call after another, in order."""
        for start in range(0, len(self.values), _CALL):
            yield np.ascontiguousarray(self.values[start : start + _CALL])


@contextmanager
def held_out_clips(
    folder: Path | None, how: Preprocessing, labels: tuple[str, ...] | None, on_progress: OnProgress
) -> Iterator[HeldOut | None]:
    """The videos of ``folder`` as clips, while it lasts; None where there is no folder.

    Raises VideoError for a video that does not read, and for a class that is not among ``labels``.
    """
    if folder is None:
        yield None
        return
    found = class_folder(folder)
    indexed = found.indexed(labels) if labels is not None else None
    shape = (len(found.files), how.frames, len(how.mean), *how.crop)
    with tempfile.TemporaryDirectory(prefix="ftsf-held-out-") as place:
        values = np.memmap(Path(place) / "clips.f32", dtype=np.float32, mode="w+", shape=shape)
        for index, (video, _) in enumerate(found.files):
            values[index] = clip_from_video(video, how).values
            on_progress("read the held-out videos", (index + 1) / len(found.files))
        classes = None if indexed is None else np.asarray([place for _, place in indexed], np.int64)
        yield HeldOut(values, classes)


def held_out_logits(runner: Any, clips: HeldOut, *, batch: BatchRange = ONE) -> npt.NDArray[Any]:
    """(n, L) of one runner. Raises as ``collect``."""
    return np.concatenate([collect(runner, call, batch=batch)[LOGITS] for call in clips.calls()])


def judge_onnx_agreement(
    path: Path, reference_nL: npt.NDArray[Any], clips: HeldOut, *, precision: str, batch: BatchRange
) -> Verdict:
    """An ONNX file on ONNX Runtime's CPU provider against the logits of eager PyTorch. Raises as ``judge_onnx``."""
    from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

    with judged_form(path, precision) as judged:
        runner = OnnxRuntimeRunner(judged, optimize=precision == FP32)
        logits_nL = held_out_logits(runner, clips, batch=batch)
    about = {"subject": path.name, "subject_sha256": sha256_of(path)}
    return judge_agreement(reference_nL, logits_nL, clips.classes, precision=precision, **about)


def judge_agreement(
    reference_nL: npt.NDArray[Any],
    candidate_nL: npt.NDArray[Any],
    classes: npt.NDArray[np.int64] | None,
    *,
    precision: str,
    subject: str,
    subject_sha256: str,
) -> Verdict:
    """Top-1 agreement held against LEAST_TOP1; top-5 agreement and both accuracies reported beside it.

    Top-5 agreement is left out where there are no more than five classes: it would be 1 whatever the scores are.
    Raises GateFailed when there is nothing to compare or the shapes differ.
    """
    check_comparable(LOGITS, reference_nL, candidate_nL)
    if (bad := nonfinite(reference_nL, candidate_nL)) is not None:
        metric = f"non-finite values of the {bad.side}"
        measures = [
            Measure(output=LOGITS, metric=metric, value=bad.count, limit=0, passed=False, worst_index=bad.index)
        ]
    else:
        measures = _measures(reference_nL, candidate_nL, classes, LEAST_TOP1[precision])
    first = measures[0]
    return Verdict(
        gate=agreement_gate(precision),
        status=Status.PASSED if first.passed else Status.FAILED,
        subject=subject,
        subject_sha256=subject_sha256,
        reason="" if first.passed else f"{first.sentence()}, on {len(reference_nL)} held-out clips",
        proxy_for="" if precision == FP32 else f"{precision} on a GPU",
        measures=tuple(measures),
    )


def _measures(
    reference_nL: npt.NDArray[Any], candidate_nL: npt.NDArray[Any], classes: npt.NDArray[np.int64] | None, least: float
) -> list[Measure]:
    """The judged one first. Values are finite."""
    flipped = flips(reference_nL, candidate_nL)
    agreed = 1 - len(flipped) / len(reference_nL)
    worst = (flipped[0].clip, flipped[0].candidate_class) if flipped else None
    measures = [
        Measure(
            output=LOGITS, metric="top1_agreement", value=agreed, limit=least, passed=agreed >= least, worst_index=worst
        )
    ]
    if reference_nL.shape[1] > _TOP:
        overlap = top_k_overlap(reference_nL, candidate_nL, _TOP)
        measures.append(Measure(output=LOGITS, metric="top5_agreement", value=overlap))
    if classes is not None:
        for whom, logits in (("eager", reference_nL), ("graph", candidate_nL)):
            right = float((logits.argmax(axis=1) == classes).mean())
            measures.append(Measure(output=LOGITS, metric=f"{whom}_top1_accuracy", value=right))
    measures.append(Measure(output=LOGITS, metric="held_out_clips", value=len(reference_nL)))
    return measures
