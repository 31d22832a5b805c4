"""Our eager model against somebody else's, which has the same weights and sees the same clips.

Letters: n clips.
"""

from __future__ import annotations

from collections.abc import Mapping

from ftsf_export.network.gates import Gate
from ftsf_export.parity.compare import paired
from ftsf_export.parity.distances import Array
from ftsf_export.parity.judge import Limits, judge
from ftsf_export.verdict import Subject, Verdict


def judge_second_opinion(
    gate: Gate,
    theirs: Mapping[str, Array] | None,
    ours: Mapping[str, Array],
    subject: Subject,
    limits: Limits,
    *,
    reason: str,
) -> Verdict:
    """Both computed in FP32, to whose ``limits`` they are held. ``subject`` is the graph that goes by this reference.

    Name of an output -> (n, ...) each. ``theirs`` is None where their model could not be asked: then the gate was not
    run, for ``reason``.
    """
    if theirs is None:
        return gate.not_run(subject, reason)
    return judge(paired(theirs, ours), gate=gate, subject=subject, limits=limits, outputs=tuple(theirs))
