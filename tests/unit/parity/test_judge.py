"""Verdicts: every gate has a case in which it must fail, and honest rounding passes."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from ftsf_export.errors import ConfigError, GateFailed
from ftsf_export.network.gates import GRAPH, Gate
from ftsf_export.parity.judge import Limits, Pair, judge
from ftsf_export.precision import FP8, FP32, precision_named
from ftsf_export.strict_json import plain, structured
from ftsf_export.verdict import Status, Subject, Verdict

TAPS = ("patch_embed", "blocks.0.temporal", "blocks.0.spatial", "blocks.0.mlp", "norm")
ROUNDING = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}


def honest_pairs(precision: str = "fp16", *, classes: int = 400, clips: int = 2) -> dict[str, Pair]:
    """Logits and taps as float64, and rounded to the type."""
    rng = np.random.default_rng(7)
    values = {"logits": rng.normal(size=(clips, classes)), **{tap: rng.normal(size=(clips, 9, 16)) for tap in TAPS}}
    return {name: Pair(value, value.astype(ROUNDING[precision]).astype(np.float32)) for name, value in values.items()}


def verdict_on(
    pairs: dict[str, Pair], precision: str = "fp16", taps: tuple[str, ...] = TAPS, **options: float
) -> Verdict:
    return judge(
        pairs,
        gate=Gate("parity.test", GRAPH),
        subject=Subject("model.onnx", "0" * 64),
        limits=Limits.for_precision(precision_named(precision), **options),
        taps=taps,
    )


def changed(pairs: dict[str, Pair], name: str, candidate: np.ndarray) -> dict[str, Pair]:
    return {**pairs, name: Pair(pairs[name].reference, candidate)}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_honest_rounding_passes_with_its_evidence(precision: str) -> None:
    verdict = verdict_on(honest_pairs(precision), precision)
    assert verdict.status is Status.PASSED
    assert {m.output for m in verdict.measures} == {"logits", *TAPS}
    logits = {m.metric for m in verdict.measures if m.output == "logits"}
    assert logits == {"rel_l2", "spread_error", "max_abs", "cosine", "top1_agreement", "top5_agreement"}


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("fp16", 1e-2), ("bf16", 5e-2)])
def test_the_default_limits_are_the_documented_ones(precision: str, limit: float) -> None:
    assert Limits.for_precision(precision_named(precision)).rel_l2 == limit
    for name in ("logits", *TAPS):
        pairs = honest_pairs(precision)
        for factor, status in ((0.9, Status.PASSED), (1.1, Status.FAILED)):
            scaled = changed(pairs, name, pairs[name].reference * (1 + factor * limit))
            found = verdict_on(scaled, precision)
            # Scaling moves the largest logit by several standard deviations: only the L2 limit is looked at here.
            measure = next(m for m in found.measures if (m.output, m.metric) == (name, "rel_l2"))
            assert measure.passed is (status is Status.PASSED)
            if status is Status.FAILED:
                assert found.status is Status.FAILED


def test_a_failure_names_output_metric_limit_value_index_and_module() -> None:
    pairs = honest_pairs()
    wrong = changed(pairs, "logits", pairs["logits"].candidate * 1.1)
    spatial = pairs["blocks.0.spatial"].candidate.copy()
    spatial[1, 3, 5] += 10
    verdict = verdict_on(changed(wrong, "blocks.0.spatial", spatial))
    assert verdict.status is Status.FAILED
    assert "logits: rel_l2 0.1, limit at most 0.01, worst at [" in verdict.reason
    assert "first departs at blocks.0.spatial (blocks.0.spatial: rel_l2" in verdict.reason
    assert "worst at [1, 3, 5]" in verdict.reason


def test_logits_alone_depart_at_the_head() -> None:
    pairs = honest_pairs()
    verdict = verdict_on(changed(pairs, "logits", pairs["logits"].candidate * 1.1))
    assert "first departs at head" in verdict.reason
    # Without taps nobody knows where.
    alone = verdict_on({"logits": changed(pairs, "logits", pairs["logits"].candidate * 1.1)["logits"]}, taps=())
    assert "departs" not in alone.reason


@pytest.mark.parametrize("tap", TAPS)
def test_a_tap_that_is_zero_fails_though_the_logits_agree(tap: str) -> None:
    pairs = honest_pairs()
    verdict = verdict_on(changed(pairs, tap, np.zeros_like(pairs[tap].candidate)))
    assert verdict.status is Status.FAILED
    assert verdict.reason.startswith(f"{tap}: rel_l2 1, limit at most 0.01")
    assert verdict.reason.endswith(f"; first departs at {tap}")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_two_close_classes_exchanged_are_caught(precision: str) -> None:
    """Among 400 classes the exchange moves the L2 norm by less than its limit."""
    pairs = honest_pairs(precision)
    reference, candidate = pairs["logits"].reference, pairs["logits"].candidate.copy()
    limit = Limits.for_precision(precision_named(precision)).rel_l2
    gaps = np.abs(reference[0][:, None] - reference[0][None, :])
    near = (gaps > 6 * limit) & (gaps < 10 * limit) & (np.maximum.outer(reference[0], reference[0]) < 1)
    first, second = np.argwhere(near)[0]
    candidate[:, [first, second]] = candidate[:, [second, first]]
    candidate[1:] = reference[1:]
    verdict = verdict_on(changed(pairs, "logits", candidate), precision)
    failing = [m.metric for m in verdict.measures if not m.passed]
    assert failing == ["spread_error"]
    assert verdict.status is Status.FAILED
    assert "first departs at head" in verdict.reason


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("output", ["logits", "blocks.0.temporal"])
def test_nan_and_infinity_fail_first(value: float, output: str) -> None:
    pairs = honest_pairs()
    candidate = pairs[output].candidate.copy()
    candidate.flat[5] = value
    # A limit that everything is within, were NaN within anything.
    verdict = verdict_on(changed(pairs, output, candidate), rtol=1e30, atol=1e30)
    assert verdict.status is Status.FAILED
    assert f"{output}: non-finite values of the candidate 1, limit at most 0" in verdict.reason


def test_infinity_on_both_sides_is_no_agreement() -> None:
    pairs = honest_pairs()
    both = pairs["norm"].reference.copy()
    both[0, 0, 0] = math.inf
    verdict = verdict_on({**pairs, "norm": Pair(both, both.copy())})
    assert verdict.status is Status.FAILED


def test_a_changed_best_class_fails_though_errors_are_small() -> None:
    pairs = honest_pairs()
    reference = pairs["logits"].reference.copy()
    best = int(reference[0].argmax())
    other = (best + 1) % reference.shape[1]
    # 0.4 % of the largest logit: more than fp16 blurs, less than the error limits.
    reference[0, other] = reference[0, best] - 0.004 * reference[0, best]
    candidate = reference.astype(np.float32)
    candidate[0, [best, other]] = candidate[0, [other, best]]
    pairs["logits"] = Pair(reference, candidate)
    verdict = verdict_on(pairs, rtol=2e-2)
    assert [m.metric for m in verdict.measures if not m.passed] == ["top1_agreement"]
    assert verdict.status is Status.FAILED
    assert f"top1_agreement 0.5, limit at least 1, worst at [0, {other}]" in verdict.reason


def tie(gap: float) -> dict[str, Pair]:
    """Two best classes ``gap`` apart, which the candidate holds the other way round."""
    pairs = honest_pairs()
    reference = pairs["logits"].reference.copy()
    reference[0, 3], reference[0, 8] = 8.0, 8.0 - gap
    candidate = reference.astype(np.float32)
    candidate[0, [3, 8]] = candidate[0, [8, 3]]
    return {**pairs, "logits": Pair(reference, candidate)}


def test_a_tie_that_the_type_does_not_resolve_is_inconclusive_not_green() -> None:
    unit = 2.0**-11
    verdict = verdict_on(tie(3 * unit * 8.0), rtol=5e-2)
    assert verdict.status is Status.INCONCLUSIVE
    assert "closer together than the precision resolves" in verdict.reason
    assert not verdict.passed
    # The same exchange where the reference tells the two apart.
    assert verdict_on(tie(5 * unit * 8.0), rtol=5e-2).status is Status.FAILED
    # In FP32 that gap is plain to see.
    assert verdict_on(tie(3 * unit * 8.0), "fp32", rtol=5e-2).status is Status.FAILED


def test_a_tie_excuses_nothing_else() -> None:
    pairs = tie(2.0**-10)
    verdict = verdict_on(changed(pairs, "norm", pairs["norm"].candidate * 1.2))
    assert verdict.status is Status.FAILED


def test_atol_and_rtol_replace_the_limits() -> None:
    pairs = honest_pairs()
    assert verdict_on(pairs, rtol=1e-9).status is Status.FAILED
    assert "max_abs" in verdict_on(pairs, atol=1e-9).reason
    assert verdict_on(pairs, atol=1.0).status is Status.PASSED
    assert Limits.for_precision(FP32, rtol=1e-4).spread_error == pytest.approx(4e-4)
    with pytest.raises(ConfigError, match="fp32, fp16, bf16"):
        Limits.for_precision(FP8)


def test_no_evidence_is_a_failure() -> None:
    with pytest.raises(GateFailed, match="nothing was compared"):
        verdict_on({})


def test_outputs_are_exactly_those_named() -> None:
    pairs = honest_pairs()
    with pytest.raises(GateFailed, match="'norm' was to be compared and is missing"):
        verdict_on({name: pair for name, pair in pairs.items() if name != "norm"})
    with pytest.raises(GateFailed, match="'stray' was compared and is not expected"):
        verdict_on({**pairs, "stray": pairs["norm"]})
    with pytest.raises(GateFailed, match="expected shape"):
        verdict_on(changed(pairs, "norm", pairs["norm"].candidate[:1]))
    with pytest.raises(GateFailed, match=r"\(clips, classes\)"):
        verdict_on({"logits": Pair(np.ones((2, 3, 4)), np.ones((2, 3, 4)))}, taps=())


def test_exchanged_outputs_fail() -> None:
    pairs = honest_pairs()
    one, other = pairs["blocks.0.temporal"], pairs["blocks.0.mlp"]
    exchanged = {
        **pairs,
        "blocks.0.temporal": Pair(one.reference, other.candidate),
        "blocks.0.mlp": Pair(other.reference, one.candidate),
    }
    assert "first departs at blocks.0.temporal" in verdict_on(exchanged).reason


def test_a_verdict_survives_json() -> None:
    pairs = honest_pairs()
    candidate = pairs["logits"].candidate.copy()
    candidate[0, 0] = math.nan
    verdict = verdict_on(changed(pairs, "logits", candidate))
    assert plain(structured(plain(verdict), Verdict, "file")) == plain(verdict)
