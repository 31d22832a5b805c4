"""Logits that no longer tell clips apart fail, however small the error is beside the logits themselves."""

from __future__ import annotations

import numpy as np
import pytest

from ftsf_export.bundle.golden import Contrast
from ftsf_export.network.gates import parity_graph
from ftsf_export.parity.between_clips import LIMIT, judged_between_clips
from ftsf_export.parity.distances import clip_spread, clip_spread_error
from ftsf_export.parity.judge import Limits, Pair, judge
from ftsf_export.precision import precision_named
from ftsf_export.verdict import Measure, Status, Subject, Verdict

DRAW = np.random.default_rng(5)
COMMON = DRAW.normal(size=40)
OWN = DRAW.normal(size=(8, 40))
DRAWN = "the weights are as they were drawn"


def answers(apart: float) -> np.ndarray:
    """Eight clips whose logits share almost all of their size, ``apart`` of it different."""
    return COMMON + apart * OWN


def verdict_on(logits: np.ndarray, candidate: np.ndarray, precision: str = "fp16", **contrast: object) -> Verdict:
    limits = Limits.for_precision(precision_named(precision))
    gate, subject = parity_graph(precision_named(precision)), Subject("model.onnx", "0" * 64)
    facts = {"clips": len(logits), "best_classes": len(set(logits.argmax(axis=1))), **contrast}
    pair = Pair(logits, candidate)
    known = Contrast(spread=clip_spread(logits).astype(np.float32), **facts)
    return judged_between_clips(judge({"logits": pair}, gate=gate, subject=subject, limits=limits), known, pair, limits)


def measure(verdict: Verdict, metric: str) -> Measure:
    return next(one for one in verdict.measures if one.metric == metric)


def test_the_error_is_told_in_units_of_the_spread() -> None:
    logits = answers(0.1)
    spread = clip_spread(logits)
    assert spread == pytest.approx(0.1 * OWN.std(axis=0, ddof=1))
    wrong = logits.copy()
    wrong[3] += 0.5 * spread
    found = clip_spread_error(logits, wrong, spread)
    assert (found.value, found.index[0]) == (pytest.approx(0.5), 3)
    assert clip_spread_error(1e6 * logits, 1e6 * wrong, 1e6 * spread).value == pytest.approx(0.5)


def test_a_logit_that_never_moves_does_not_decide_alone() -> None:
    logits = answers(0.1)
    logits[:, 7] = 3.0
    assert clip_spread_error(logits, logits + 1e-3, clip_spread(logits)).value < 0.05
    assert clip_spread_error(logits[:, 7:8], logits[:, 7:8] + 1e-9, np.zeros(1)).value == np.inf
    assert clip_spread_error(logits[:, 7:8], logits[:, 7:8], np.zeros(1)).value == 0


@pytest.mark.parametrize("kept", [slice(None), slice(2)], ids=["eight clips", "the two that are kept"])
def test_a_candidate_that_ignores_its_clip_fails(kept: slice) -> None:
    logits = answers(1e-3)
    verdict = verdict_on(logits, np.broadcast_to(logits[kept].mean(axis=0), logits.shape))
    assert measure(verdict, "rel_l2").passed, "beside the logits the error is small"
    assert verdict.status is Status.FAILED
    assert verdict.reason.startswith("logits: clip_spread_error ")
    assert "take a wider precision" in verdict.reason


@pytest.mark.parametrize(("factor", "status"), [(0.9, Status.PASSED), (1.1, Status.FAILED)])
def test_the_limit_is_half_of_the_spread(factor: float, status: Status) -> None:
    logits = answers(1e-3)
    assert LIMIT == 0.5
    assert verdict_on(logits, logits + factor * LIMIT * clip_spread(logits)).status is status


def test_weights_as_they_were_drawn_are_not_judged_below_rounding() -> None:
    logits = answers(1e-3)
    lost = logits + 2 * clip_spread(logits)
    verdict = verdict_on(logits, lost, untrained=DRAWN)
    assert verdict.passed
    assert "clip_spread_error is inconclusive: the weights are as they were drawn, and the scores" in verdict.reason
    assert measure(verdict, "clip_spread_error").value == pytest.approx(2)
    # What the precision does resolve is judged, whatever the weights are.
    assert verdict_on(logits, lost, "fp32", untrained=DRAWN).status is Status.FAILED
    apart = answers(0.1)
    assert verdict_on(apart, apart + 2 * clip_spread(apart), untrained=DRAWN).status is Status.FAILED


def test_one_best_class_decides_nothing() -> None:
    logits = answers(0.01)
    assert len(set(logits.argmax(axis=1))) == 1
    verdict = verdict_on(logits, logits)
    agreement = measure(verdict, "top1_agreement")
    assert (agreement.value, agreement.judged) == (1.0, False)
    assert measure(verdict, "best_classes").value == 1
    said = "top1_agreement is inconclusive: the reference puts one class first in all of its 8 clips"
    assert verdict.passed
    assert said in verdict.reason
    several = verdict_on(answers(2), answers(2))
    assert measure(several, "best_classes").value > 1
    assert measure(several, "top1_agreement").judged
    assert several.reason == ""


def test_another_best_class_fails_although_there_was_one() -> None:
    logits = answers(0.01)
    flipped = logits.copy()
    best, second = logits[0].argsort()[::-1][:2]
    flipped[0, [best, second]] = flipped[0, [second, best]]
    verdict = verdict_on(logits, flipped)
    assert verdict.status is Status.FAILED
    assert not measure(verdict, "top1_agreement").passed


def test_what_failed_or_is_not_finite_stays_so() -> None:
    logits = answers(0.1)
    assert "rel_l2" in verdict_on(logits, 2 * logits).reason
    candidate = logits.copy()
    candidate[0, 0] = np.nan
    assert verdict_on(logits, candidate).status is Status.FAILED
