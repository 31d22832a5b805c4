"""The names of the classes: one for each logit, and the known label of every reference clip among them."""

from __future__ import annotations

from collections.abc import Sequence

from ftsf_export.bundle import Golden
from ftsf_export.network.gates import LABELS
from ftsf_export.verdict import Measure, Status, Subject, Verdict


def judge_labels(labels: Sequence[str], golden: Golden, subject: Subject) -> Verdict:
    """``labels`` are the manifest's; ``subject`` is the file of the reference values."""
    classes = golden.logits.shape[1]
    unknown = [label for label in golden.labels or () if label not in labels]
    measures = (
        Measure(output="labels", metric="count", value=len(labels)),
        Measure(output="labels", metric="more or fewer than classes", value=abs(len(labels) - classes), limit=0),
        Measure(output="labels", metric="known labels not among them", value=len(unknown), limit=0),
    )
    reason = "" if len(labels) == classes else f"the manifest names {len(labels)} classes, the model has {classes}"
    if unknown:
        reason = reason or f"a reference clip is labelled {unknown[0]!r}, which is not a class of the manifest"
    return LABELS.verdict(subject, Status.FAILED if reason else Status.PASSED, reason, measures)
