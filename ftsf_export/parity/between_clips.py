"""Do the logits still tell clips apart? An error that is small beside the logits may be large beside what a clip
changes in them.

Large channels of the residual stream, as trained transformers have them, make most of every logit the same for all
clips. Half precision rounds the whole of it, so the relative error stays small while nothing of the answer is left.

Letters: n clips, L classes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ftsf_export.bundle.golden import Contrast
from ftsf_export.network.scope import LOGITS
from ftsf_export.parity.distances import Array, clip_spread, clip_spread_error, nonfinite
from ftsf_export.parity.judge import GRANTED, TOP1, Limits, Pair
from ftsf_export.verdict import Measure, Status, Verdict

# Of the error over the spread between clips: half of what tells clips apart. A candidate that ignores its clip is at
# about 1; docs/gates.md has what was measured on either side.
LIMIT = 0.5
_IGNORES = 0.9
# In ties of four units of roundoff: rounding every tensor of a network moved its logits by 1.5 to 6.5 units.
_ROUNDING = 2


def contrast_of(answers_nL: Array, untrained: str, wide_and_own: tuple[Array, Array]) -> Contrast | None:
    """What is kept of the answers to all n clips; None where one of them is not a number, which is judged elsewhere.

    ``wide_and_own``: the answer to one clip in float64 and in FP32.
    """
    if not all(np.isfinite(values).all() for values in (answers_nL, *wide_and_own)):
        return None
    spread = clip_spread(answers_nL)
    noise = clip_spread_error(*wide_and_own, spread).value
    return Contrast(
        spread=spread.astype(np.float32),
        clips=len(answers_nL),
        best_classes=len(set(answers_nL.argmax(axis=1).tolist())),
        untrained=untrained,
        noise=noise if np.isfinite(noise) else 0.0,
    )


def judged_between_clips(
    verdict: Verdict, contrast: Contrast | None, logits: Pair, limits: Limits, *, output: str = LOGITS
) -> Verdict:
    """``verdict`` with the error of the ``logits`` over their spread between clips, failed where that is too large;
    of a graph without logits that of its features (``output``).

    The number of best classes is reported; where there is but one, agreement on it is inconclusive. So is the error of
    weights that mean nothing yet where their scores of different clips lie closer together than the type rounds.
    """
    if contrast is None or nonfinite(logits.reference, logits.candidate) is not None:
        # What is not finite has failed already, and has no distance.
        return verdict
    error = replace(_error(contrast, logits, limits), output=output)
    measures = [_one_answer(measure, contrast) for measure in verdict.measures]
    measures.append(error)
    if output == LOGITS:
        measures.append(Measure(output=LOGITS, metric="best_classes", value=contrast.best_classes))
    failed = verdict.status is Status.FAILED or not error.passed
    reason = verdict.reason
    if verdict.status is not Status.FAILED and not error.passed:
        reason = f"{error.sentence()}: too little is left of what tells clips apart; take a wider precision"
    elif verdict.passed:
        undecided = [f"{m.output}: {m.metric} is inconclusive: {m.inconclusive}" for m in measures if m.inconclusive]
        reason = "; ".join([*([reason] if reason else []), *undecided])
    return replace(verdict, status=Status.FAILED if failed else verdict.status, reason=reason, measures=tuple(measures))


def _one_answer(measure: Measure, contrast: Contrast) -> Measure:
    if measure.metric != TOP1 or contrast.best_classes > 1 or not measure.passed:
        return measure
    why = f"the reference puts one class first in all of its {contrast.clips} clips"
    return replace(measure, inconclusive=why)


def _error(contrast: Contrast, logits: Pair, limits: Limits) -> Measure:
    found = clip_spread_error(logits.reference, logits.candidate, contrast.spread)
    inconclusive = ""
    if contrast.untrained and _below_rounding(contrast, logits, limits):
        inconclusive = f"{contrast.untrained}, and the scores of different clips are as close as the precision rounds"
    return Measure(
        output=LOGITS,
        metric="clip_spread_error",
        value=found.value,
        limit=_limit(contrast, limits),
        worst_index=found.index,
        inconclusive=inconclusive,
    )


def _limit(contrast: Contrast, limits: Limits) -> float:
    """Of a graph in FP32 more where the reference's own error is large, but never what a graph has that ignores its
    clip."""
    return min(max(LIMIT, GRANTED * contrast.noise), _IGNORES) if limits.granted else LIMIT


def _below_rounding(contrast: Contrast, logits: Pair, limits: Limits) -> bool:
    """Whether honest rounding alone would take the limit, or more of it."""
    values = logits.reference, contrast.spread
    size, spread = (float(np.sqrt(np.mean(np.square(value, dtype=np.float64)))) for value in values)
    return _ROUNDING * limits.tie * size > LIMIT * spread
