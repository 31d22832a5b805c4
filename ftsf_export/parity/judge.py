"""From pairs of arrays to a verdict. Every limit is a positive claim: a figure that is not finite is outside it.

Judged are, for the logits: relative L2 error, the largest error of one class in units of the logits' spread, the best
class of every clip, and the largest absolute error where the user gave a limit; for every other output (a tap: one
module's value) the relative L2 error. Cosine, maximum absolute error and top-5 agreement are reported beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ftsf_export.errors import ConfigError, GateFailed
from ftsf_export.parity.distances import (
    Array,
    Distance,
    Flip,
    check_comparable,
    distance,
    flips,
    nonfinite,
    top_k_overlap,
)
from ftsf_export.parity.locate import LOGITS, first_departure
from ftsf_export.verdict import Measure, Status, Verdict


@dataclass(frozen=True)
class Pair:
    """One output of both sides, clips along the first axis."""

    reference: Array
    candidate: Array


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a precision may cost.

    Attributes:
        rel_l2: relative L2 error of the logits and of every tap, worst clip.
        tie: two logits of the reference closer than ``tie`` times the largest of the clip are a tie that the
            precision does not resolve: four unit roundoffs (Higham, Accuracy and Stability, 2002, section 2.1).
        max_abs: largest absolute error of the logits; None: not judged.
    """

    rel_l2: float
    tie: float
    max_abs: float | None = None

    @property
    def spread_error(self) -> float:
        """Error of any one logit in units of the standard deviation of its clip's logits.

        Four times the L2 limit: among hundreds of classes rounding errors within the L2 limit reach 3 to 3.5 times
        their deviation. It catches two exchanged classes of near score, which an L2 norm over all classes hides.
        """
        return 4 * self.rel_l2

    @classmethod
    def for_precision(cls, precision: str, *, atol: float | None = None, rtol: float | None = None) -> Limits:
        """The defaults of ``fp32``, ``fp16`` or ``bf16``; ``rtol`` replaces the relative limit, ``atol`` adds one.

        Raises ConfigError for another precision.
        """
        if precision not in _DEFAULTS:
            raise ConfigError([f"precision: parity limits exist for {', '.join(_DEFAULTS)}, got {precision!r}"])
        limits = _DEFAULTS[precision]
        if rtol is not None:
            limits = replace(limits, rel_l2=rtol)
        return replace(limits, max_abs=atol)


_DEFAULTS = {
    "fp32": Limits(rel_l2=1e-5, tie=4 * 2.0**-24),
    "fp16": Limits(rel_l2=1e-2, tie=4 * 2.0**-11),
    "bf16": Limits(rel_l2=5e-2, tie=4 * 2.0**-8),
}


def judge(
    pairs: Mapping[str, Pair],
    *,
    gate: str,
    subject: str,
    subject_sha256: str,
    limits: Limits,
    taps: Sequence[str] = (),
    proxy_for: str = "",
) -> Verdict:
    """The verdict on ``subject``. ``pairs`` hold "logits" (n, classes) and one entry for each of ``taps``.

    ``taps`` are in network order. The status is ``failed`` when any judged measure is outside its limit;
    ``inconclusive`` when all that is wrong is a changed best class among classes that the reference itself holds
    closer together than the precision resolves (``Limits.tie``); else ``passed``. Raises GateFailed when there is
    nothing to compare, or when the outputs are not exactly those named.
    """
    _check_names(pairs, taps)
    measures: list[Measure] = []
    tied = False
    for name in (LOGITS, *taps):
        pair = pairs[name]
        check_comparable(name, pair.reference, pair.candidate)
        if (bad := nonfinite(pair.reference, pair.candidate)) is not None:
            metric = f"non-finite values of the {bad.side}"
            measures.append(
                Measure(output=name, metric=metric, value=bad.count, limit=0, passed=False, worst_index=bad.index)
            )
            continue
        found = distance(name, pair.reference, pair.candidate)
        if name == LOGITS:
            logits, tied = _logits_measures(pair, found, limits)
            measures.extend(logits)
        else:
            measures.extend(_tap_measures(name, found, limits))
    status, reason = _conclusion(measures, taps, tied)
    return Verdict(
        gate=gate,
        status=status,
        subject=subject,
        subject_sha256=subject_sha256,
        reason=reason,
        proxy_for=proxy_for,
        measures=tuple(measures),
    )


def _check_names(pairs: Mapping[str, Pair], taps: Sequence[str]) -> None:
    expected = {LOGITS, *taps}
    if not pairs:
        raise GateFailed("nothing was compared: no output on either side; no evidence is a failure")
    if missing := sorted(expected - set(pairs)):
        raise GateFailed(f"output {missing[0]!r} was to be compared and is missing; got {', '.join(sorted(pairs))}")
    if extra := sorted(set(pairs) - expected):
        raise GateFailed(
            f"output {extra[0]!r} was compared and is not expected; expected {', '.join(sorted(expected))}"
        )


def _logits_measures(pair: Pair, found: Distance, limits: Limits) -> tuple[list[Measure], bool]:
    if pair.reference.ndim != 2:
        raise GateFailed(f"logits: expected shape (clips, classes), got {pair.reference.shape}")
    flipped = flips(pair.reference, pair.candidate)
    measures = [
        _within(LOGITS, "rel_l2", found.rel_l2.value, limits.rel_l2, found.rel_l2.index),
        _within(LOGITS, "spread_error", found.spread_error.value, limits.spread_error, found.spread_error.index),
        _within(LOGITS, "max_abs", found.max_abs.value, limits.max_abs, found.max_abs.index),
        Measure(output=LOGITS, metric="cosine", value=found.cosine.value, worst_index=found.cosine.index),
        Measure(
            output=LOGITS,
            metric="top1_agreement",
            value=1 - len(flipped) / len(pair.reference),
            limit=1.0,
            passed=not flipped,
            worst_index=(flipped[0].clip, flipped[0].candidate_class) if flipped else None,
        ),
        Measure(output=LOGITS, metric="top5_agreement", value=top_k_overlap(pair.reference, pair.candidate, 5)),
    ]
    return measures, all(_is_tie(flip, pair, limits) for flip in flipped)


def _is_tie(flip: Flip, pair: Pair, limits: Limits) -> bool:
    """Any flip lies within twice the measured error; a bound that excuses all says nothing, so it is the type's."""
    return flip.gap <= limits.tie * float(abs(pair.reference[flip.clip].astype("float64")).max())


def _tap_measures(name: str, found: Distance, limits: Limits) -> list[Measure]:
    return [
        _within(name, "rel_l2", found.rel_l2.value, limits.rel_l2, found.rel_l2.index),
        Measure(output=name, metric="max_abs", value=found.max_abs.value, worst_index=found.max_abs.index),
        Measure(output=name, metric="cosine", value=found.cosine.value, worst_index=found.cosine.index),
    ]


def _within(output: str, metric: str, value: float, limit: float | None, index: tuple[int, ...]) -> Measure:
    # `value <= limit` is False for NaN: what is not a number is never within a limit.
    passed = limit is None or value <= limit
    return Measure(output=output, metric=metric, value=value, limit=limit, passed=passed, worst_index=index)


def _conclusion(measures: Sequence[Measure], taps: Sequence[str], tied: bool) -> tuple[Status, str]:
    failing = [m for m in measures if not m.passed]
    if not failing:
        return Status.PASSED, ""
    if tied and all(m.output == LOGITS and m.metric == "top1_agreement" for m in failing):
        return Status.INCONCLUSIVE, (
            f"{failing[0].sentence()}: the reference holds these classes closer together than the precision resolves; "
            "judge on other clips"
        )
    departure = first_departure(measures, taps)
    if departure is None:
        return Status.FAILED, failing[0].sentence()
    where = f"first departs at {departure.module}"
    known = departure.measure is failing[0]
    return Status.FAILED, f"{failing[0].sentence()}; {where}" + ("" if known else f" ({departure.measure.sentence()})")
