"""What FP32 does to a model is not put down to its graph, and everything beyond it is."""

from __future__ import annotations

import numpy as np
import pytest

from ftsf_export.bundle.golden import Contrast
from ftsf_export.network.gates import parity_graph
from ftsf_export.parity.between_clips import judged_between_clips
from ftsf_export.parity.judge import Limits, Pair, judge
from ftsf_export.precision import precision_named
from ftsf_export.verdict import Status, Subject, Verdict

DRAW = np.random.default_rng(2)
VALUES = {"logits": DRAW.normal(size=(2, 40)), "blocks.0.joint": DRAW.normal(size=(2, 64))}
NOISE = {"logits": 1e-4, "blocks.0.joint": 2e-5}
SUBJECT = Subject("model.onnx", "0" * 64)


def off_by(**errors: float) -> dict[str, Pair]:
    """Each output with a relative L2 error of its own, spread evenly over its values."""
    signs = {name: np.where(np.arange(value.size).reshape(value.shape) % 2, 1, -1) for name, value in VALUES.items()}
    return {
        name: Pair(value, value + errors.get(name, 0.0) * signs[name] * np.sqrt(np.mean(value**2, axis=1))[:, None])
        for name, value in VALUES.items()
    }


def verdict_on(pairs: dict[str, Pair], precision: str = "fp32", **options: float) -> Verdict:
    limits = Limits.for_precision(precision_named(precision), **options).beside(NOISE)
    gate = parity_graph(precision_named(precision))
    return judge(pairs, gate=gate, subject=SUBJECT, limits=limits, taps=["blocks.0.joint"])


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ({"logits": 7.9e-4}, Status.PASSED),
        ({"logits": 8.1e-4}, Status.FAILED),
        ({"blocks.0.joint": 1.59e-4}, Status.PASSED),
        ({"blocks.0.joint": 1.61e-4}, Status.FAILED),
    ],
)
def test_eight_times_the_references_own_error_is_granted(errors: dict[str, float], status: Status) -> None:
    verdict = verdict_on(off_by(**errors))
    assert verdict.status is status
    told = {m.output: (m.value, m.limit) for m in verdict.measures if m.metric == "reference_noise"}
    assert told == {name: (noise, None) for name, noise in NOISE.items()}


def test_a_reference_that_fp32_resolves_leaves_the_limit_as_it_is() -> None:
    limits = Limits.for_precision(precision_named("fp32")).beside({"logits": 1e-6})
    assert limits.rel_l2_of("logits") == limits.rel_l2_of("another") == 1e-5


def test_no_noise_grants_more_than_fp16_has() -> None:
    limits = Limits.for_precision(precision_named("fp32")).beside({"logits": 0.5})
    assert limits.rel_l2_of("logits") == 1e-2
    assert limits.spread_error == 4e-2


def test_half_precision_and_the_users_own_limit_are_granted_nothing() -> None:
    assert Limits.for_precision(precision_named("fp16")).beside({"logits": 0.5}).rel_l2_of("logits") == 1e-2
    assert verdict_on(off_by(logits=2e-5), rtol=1e-5).status is Status.FAILED
    assert verdict_on(off_by(logits=2e-5)).passed


def flipped(gap: float) -> dict[str, Pair]:
    pairs = off_by()
    reference = pairs["logits"].reference.copy()
    reference[0, 3], reference[0, 8] = 8.0, 8.0 - gap
    candidate = reference.copy()
    candidate[0, [3, 8]] = candidate[0, [8, 3]]
    return {**pairs, "logits": Pair(reference, candidate)}


def test_classes_closer_than_the_noise_are_a_tie() -> None:
    verdict = verdict_on(flipped(8.0 * 1e-4))
    assert verdict.status is Status.INCONCLUSIVE
    assert verdict_on(flipped(8.0 * 3e-4)).status is Status.FAILED


@pytest.mark.parametrize(("noise", "limit"), [(0.0, 0.5), (0.075, 0.6), (0.5, 0.9)])
def test_the_spread_between_clips_is_judged_beside_it_too(noise: float, limit: float) -> None:
    pairs = off_by()
    contrast = Contrast(spread=np.ones(40, np.float32), clips=8, best_classes=2, noise=noise)
    for precision, expected in (("fp32", limit), ("fp16", 0.5)):
        limits = Limits.for_precision(precision_named(precision))
        verdict = judged_between_clips(verdict_on(pairs, precision), contrast, pairs["logits"], limits)
        assert [m.limit for m in verdict.measures if m.metric == "clip_spread_error"] == [expected]
