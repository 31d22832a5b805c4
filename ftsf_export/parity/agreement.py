"""How often a graph and eager PyTorch put the same class first, on held-out videos.

Parity asks how far single numbers are apart, on a few clips; agreement asks what that means for the model's answers, on
many clips, and how often the answers are right.

Letters: n clips, L classes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ftsf_export.network.gates import agreement_graph
from ftsf_export.network.scope import LOGITS
from ftsf_export.parity.distances import Array, check_comparable, flips, nonfinite
from ftsf_export.parity.judge import nonfinite_measure, top1_measure, top5_measure
from ftsf_export.precision import Precision
from ftsf_export.verdict import SHARE, Measure, Status, Subject, Verdict

_TOP = 5


def judge_agreement(
    reference_nL: Array,
    candidate_nL: Array,
    classes_n: npt.NDArray[np.int64] | None,
    *,
    precision: Precision,
    subject: Subject,
) -> Verdict:
    """Top-1 agreement held against the precision's least; top-5 agreement and both accuracies reported beside it.

    ``classes_n`` are the right answers as places in the labels; None where they are not known. Top-5 agreement is left
    out where there are no more than five classes: it would be 1 whatever the scores are. Raises GateFailed when there
    is nothing to compare or the shapes differ.
    """
    check_comparable(LOGITS, reference_nL, candidate_nL)
    if (bad := nonfinite(reference_nL, candidate_nL)) is not None:
        measures = [nonfinite_measure(LOGITS, bad)]
    else:
        measures = _measures(reference_nL, candidate_nL, classes_n, precision.judged.least_top1)
    judged = measures[0]
    status = Status.PASSED if judged.passed else Status.FAILED
    reason = "" if judged.passed else f"{judged.sentence()}, on {len(reference_nL)} held-out clips"
    return agreement_graph(precision).verdict(subject, status, reason, measures)


def _measures(
    reference_nL: Array, candidate_nL: Array, classes_n: npt.NDArray[np.int64] | None, least: float
) -> list[Measure]:
    """The judged measure first. Values are finite."""
    measures = [top1_measure(flips(reference_nL, candidate_nL), len(reference_nL), least=least)]
    if reference_nL.shape[1] > _TOP:
        measures.append(top5_measure(reference_nL, candidate_nL))
    if classes_n is not None:
        for whom, logits in (("eager", reference_nL), ("graph", candidate_nL)):
            right = float((logits.argmax(axis=1) == classes_n).mean())
            measures.append(Measure(output=LOGITS, metric=f"{whom}_top1_accuracy", value=right, unit=SHARE))
    measures.append(Measure(output=LOGITS, metric="held_out_clips", value=len(reference_nL)))
    return measures
