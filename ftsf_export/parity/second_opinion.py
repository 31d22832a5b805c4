"""Our eager model against somebody else's, which has the same weights and sees the same clips.

Letters: n clips, L classes.
"""

from __future__ import annotations

from ftsf_export.network.gates import Gate
from ftsf_export.network.scope import LOGITS
from ftsf_export.parity.distances import Array
from ftsf_export.parity.judge import Limits, Pair, judge
from ftsf_export.precision import FP32
from ftsf_export.verdict import Subject, Verdict


def judge_second_opinion(
    gate: Gate, theirs_nL: Array | None, ours_nL: Array, subject: Subject, *, reason: str
) -> Verdict:
    """Both computed in FP32. ``subject`` is the graph that is held against this reference.

    ``theirs_nL`` is None where their model could not be asked: then the gate was not run, for ``reason``.
    """
    if theirs_nL is None:
        return gate.not_run(subject, reason)
    pairs = {LOGITS: Pair(theirs_nL, ours_nL)}
    return judge(pairs, gate=gate, subject=subject, limits=Limits.for_precision(FP32))
