"""What a runner gives against the reference values of a bundle, and those values against its labels. No PyTorch.

Letters: n clips, L classes, S sampled values of one tap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ftsf_export.bundle.golden import Golden, sample_tap
from ftsf_export.config import BatchRange
from ftsf_export.errors import GateFailed
from ftsf_export.network.gates import LABELS, Gate
from ftsf_export.network.scope import Scope
from ftsf_export.parity.between_clips import judged_between_clips
from ftsf_export.parity.compare import Outputs, outputs_of, paired
from ftsf_export.parity.distances import Array, clips_apart, nonfinite
from ftsf_export.parity.judge import Limits, Pair, judge
from ftsf_export.precision import FP32
from ftsf_export.verdict import Bound, Measure, Status, Subject, Verdict


def judge_golden(
    runner: Any,
    golden: Golden,
    *,
    gate: Gate,
    subject: Subject,
    limits: Limits,
    batch: BatchRange,
    taps: Sequence[str] = (),
) -> tuple[Verdict, Pair | None]:
    """The gate's verdict on the file that ``runner`` runs, by the logits and every tap that is named; and both sides'
    answers (n, ...), None where they could not be compared.

    Outputs that are missing, too many or of another shape make a failed verdict, and so do reference values that cannot
    tell one clip from another; what the runner raises passes through.
    """
    limits, answer = limits.beside(golden.noise), None
    try:
        pairs = golden_pairs(golden, outputs_of(runner, golden.clip, batch=batch), taps)
        verdict = judge(pairs, gate=gate, subject=subject, limits=limits, taps=taps, outputs=tuple(golden.outputs))
        answer = pairs[golden.answer[0]]
    except GateFailed as error:
        verdict = gate.verdict(subject, Status.FAILED, error.message)
    return told_apart(verdict, golden, answer, limits), answer


def told_apart(verdict: Verdict, golden: Golden, answer: Pair | None, limits: Limits) -> Verdict:
    """``verdict`` at ``limits``, with what the reference and the graph's ``answer`` (None where it could not be
    compared) say of one clip against another."""
    output, values = golden.answer
    verdict = failed_where_vacuous(verdict, output, values)
    if answer is not None:
        verdict = judged_between_clips(verdict, golden.contrast, answer, limits, output=output)
    return replace(verdict, own_limits=limits.own)


def failed_where_vacuous(verdict: Verdict, output: str, values: Array) -> Verdict:
    """``verdict`` with how far the reference's ``values`` (n, ...) of ``output`` are apart; failed where alike.

    A graph that never looks at its clip would agree with such a reference as well: the weights are zero, or missing.
    """
    if nonfinite(values, values) is not None:
        # Such values have failed already, and have no distance.
        return verdict
    apart = Measure(
        output=output,
        metric="clips_apart",
        value=clips_apart(values),
        limit=FP32.judged.rel_l2,
        bound=Bound.AT_LEAST,
    )
    measures = (*verdict.measures, apart)
    if apart.passed or verdict.status is Status.FAILED:
        return replace(verdict, measures=measures)
    reason = (
        f"{apart.sentence()}: the reference answers its {len(values)} clips alike, so a graph that ignores its clip "
        "would agree; give weights whose outputs depend on the clip"
    )
    return replace(verdict, status=Status.FAILED, reason=reason, measures=measures)


def doubted_where_unproven(verdict: Verdict, golden: Golden, taps: Sequence[str], depth: int) -> Verdict:
    """The verdict on a graph of ``depth`` blocks: no pass where a block has no value among the ``taps`` that were
    compared, for a fault in it may not show in the logits; nor where nothing says how far clips are apart."""
    if verdict.passed and golden.contrast is None:
        reason = "the reference values do not hold how far apart the logits of different clips are; export again"
        return replace(verdict, status=Status.INCONCLUSIVE, reason=reason)
    blocks = {block for tap in taps if (block := Scope(tap).block) is not None}
    if not verdict.passed or len(blocks) >= depth:
        return verdict
    reason = (
        f"the reference values hold outputs of {len(blocks)} of {depth} blocks: a fault in the others may not show in "
        "the logits; export again"
    )
    return replace(verdict, status=Status.INCONCLUSIVE, reason=reason)


def golden_pairs(golden: Golden, outputs: Outputs, taps: Sequence[str]) -> dict[str, Pair]:
    """Reference and candidate by name; the candidate's taps (n, S) at the positions that the reference keeps."""
    sampled = {name: value if name in golden.outputs else sample_tap(value) for name, value in outputs.items()}
    return paired({**golden.outputs, **{name: golden.taps[name] for name in taps}}, sampled)


def judge_labels(labels: Sequence[str], golden: Golden, subject: Subject) -> Verdict:
    """One label for each logit, and the known label of every reference clip among them.

    ``labels`` are the manifest's; ``subject`` is the file of the reference values.
    """
    classes = 0 if golden.logits is None else golden.logits.shape[1]
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
