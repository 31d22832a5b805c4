"""From pairs of arrays to a verdict. Every limit is a positive claim: a figure that is not finite is outside it.

Judged are, for the logits: relative L2 error, the largest error of one class in units of the logits' spread, the best
class of every clip, and the largest absolute error where the user gave a limit; for the features the relative L2 error
and that limit; for every tap (one module's value) the relative L2 error. Cosine, maximum absolute error and top-5
agreement are reported beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ftsf_export.errors import GateFailed
from ftsf_export.network.gates import Gate
from ftsf_export.network.scope import FEATURES, HEAD, LOGITS, NORM
from ftsf_export.parity.distances import (
    Array,
    Distance,
    Flip,
    NonFinite,
    WorstCase,
    check_comparable,
    distance,
    flips,
    nonfinite,
    top_k_overlap,
)
from ftsf_export.precision import FP16, FP32, Precision
from ftsf_export.verdict import SHARE, Bound, Measure, Status, Subject, Verdict

TOP1 = "top1_agreement"
# Of the reference's own error on one clip: clips differ in it by ten, where attention is sharp.
GRANTED = 8


@dataclass(frozen=True)
class Pair:
    """One output of both sides, clips along the first axis."""

    reference: Array  #: What the trusted side gives.
    candidate: Array  #: What the judged side gives.


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How far a graph or an engine may be from its reference."""

    rel_l2: float  #: Limit of the relative L2 error of the logits and of every tap, in the worst clip; no unit.
    #: Two scores of the reference that are closer than this share of the clip's largest score are a tie, which the
    #: precision does not resolve.
    tie: float
    #: Limit of the largest absolute error of the outputs, in their own unit; None: not judged.
    max_abs: float | None = None
    #: Output -> relative L2 error of the reference itself, in FP32 against float64, which a graph in FP32 is granted
    #: too; empty for the other precisions, and at the user's own limit.
    noise: Mapping[str, float] = field(default_factory=dict)
    granted: bool = False  #: Whether the reference's own error is granted to a graph.
    #: The user's own limits as they were written ("rtol 1e-09, atol 0.1"); "" for those of the precision.
    own: str = ""

    def beside(self, noise: Mapping[str, float]) -> Limits:
        """The same, with the reference's own error where it is granted."""
        return replace(self, noise=noise) if self.granted else self

    def rel_l2_of(self, output: str) -> float:
        """Limit of the relative L2 error of ``output``: a graph is not blamed for what FP32 does to its model.

        Both sides round in another order, so that each is as far from float64 as the other, and the distance between
        them goes up to ``GRANTED`` times that of one clip. Never more than FP16 is allowed.
        """
        granted = min(GRANTED * self.noise.get(output, 0.0), FP16.judged.rel_l2)
        return max(self.rel_l2, granted)

    @property
    def spread_error(self) -> float:
        """Limit of the error of any one logit, in units of the standard deviation of its clip's logits.

        Four times the L2 limit: among hundreds of classes rounding errors within the L2 limit reach 3 to 3.5 times
        their deviation. It catches two exchanged classes of near score, which an L2 norm over all classes hides.
        """
        return 4 * self.rel_l2_of(LOGITS)

    @classmethod
    def for_precision(cls, precision: Precision, *, atol: float | None = None, rtol: float | None = None) -> Limits:
        """The limits of a precision; ``rtol`` replaces the relative limit, ``atol`` adds one of the absolute error.

        Raises ConfigError for a precision that no stage makes.
        """
        rel_l2 = precision.judged.rel_l2 if rtol is None else rtol
        own = ", ".join(f"{name} {value:g}" for name, value in (("rtol", rtol), ("atol", atol)) if value is not None)
        return cls(rel_l2=rel_l2, tie=precision.tie, max_abs=atol, own=own, granted=precision is FP32 and rtol is None)


def judge(
    pairs: Mapping[str, Pair],
    *,
    gate: Gate,
    subject: Subject,
    limits: Limits,
    taps: Sequence[str] = (),
    outputs: Sequence[str] = (LOGITS,),
) -> Verdict:
    """The gate's verdict on ``subject``. ``pairs`` hold one entry for each of ``outputs`` (some of ``OUTPUTS``, each
    (n, ...)) and of ``taps``.

    ``taps`` are in network order. The status is ``failed`` when any judged measure is outside its limit;
    ``inconclusive`` when all that is wrong is a changed best class among classes that the reference itself holds
    closer together than the precision resolves (``Limits.tie``); else ``passed``. Raises GateFailed when there is
    nothing to compare, or when the outputs are not exactly those named.
    """
    _check_names(pairs, (*outputs, *taps))
    measures: list[Measure] = []
    tied = False
    for name in (*outputs, *taps):
        pair = pairs[name]
        check_comparable(name, pair.reference, pair.candidate)
        if (bad := nonfinite(pair.reference, pair.candidate)) is not None:
            measures.append(nonfinite_measure(name, bad))
            continue
        found = distance(name, pair.reference, pair.candidate)
        if name == LOGITS:
            logits, tied = _logits_measures(pair, found, limits)
            measures.extend(logits)
        else:
            measures.extend(_tap_measures(name, found, limits, most=limits.max_abs if name in outputs else None))
        if name in limits.noise:
            measures.append(Measure(output=name, metric="reference_noise", value=limits.noise[name]))
    status, reason = _conclusion(measures, taps, tied)
    return gate.verdict(subject, status, reason, measures)


def _check_names(pairs: Mapping[str, Pair], names: Sequence[str]) -> None:
    expected = set(names)
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
        raise GateFailed(f"{LOGITS}: expected shape (clips, classes), got {pair.reference.shape}")
    flipped = flips(pair.reference, pair.candidate)
    measures = [
        _measure(LOGITS, "rel_l2", found.rel_l2, limits.rel_l2_of(LOGITS)),
        _measure(LOGITS, "spread_error", found.spread_error, limits.spread_error),
        _measure(LOGITS, "max_abs", found.max_abs, limits.max_abs),
        _measure(LOGITS, "cosine", found.cosine),
        top1_measure(flipped, len(pair.reference), least=1.0),
        top5_measure(pair.reference, pair.candidate),
    ]
    return measures, all(_is_tie(flip, pair, limits) for flip in flipped)


def _is_tie(flip: Flip, pair: Pair, limits: Limits) -> bool:
    """Whether the type cannot tell the two classes apart.

    The measured error would not do as the bound: two classes change places only where they are closer than twice that
    error, so it would excuse every flip. The bound is therefore a property of the type, and of the reference alone.
    """
    tie = max(limits.tie, 2 * limits.noise.get(LOGITS, 0.0))
    return flip.gap <= tie * float(abs(pair.reference[flip.clip].astype("float64")).max())


def _tap_measures(name: str, found: Distance, limits: Limits, *, most: float | None) -> list[Measure]:
    """``most``: the limit of the largest absolute error; None for one that is not judged."""
    return [
        _measure(name, "rel_l2", found.rel_l2, limits.rel_l2_of(name)),
        _measure(name, "max_abs", found.max_abs, most),
        _measure(name, "cosine", found.cosine),
    ]


def _measure(output: str, metric: str, found: WorstCase, limit: float | None = None) -> Measure:
    return Measure(output=output, metric=metric, value=found.value, limit=limit, worst_index=found.index)


def nonfinite_measure(output: str, bad: NonFinite) -> Measure:
    """How many values are NaN or infinite, of which none may be."""
    metric = f"non-finite values of the {bad.side}"
    return Measure(output=output, metric=metric, value=bad.count, limit=0, worst_index=bad.index)


def top1_measure(flipped: Sequence[Flip], clips: int, *, least: float) -> Measure:
    """The share of ``clips`` whose best class is the same on both sides, held against ``least``."""
    return Measure(
        output=LOGITS,
        metric=TOP1,
        value=1 - len(flipped) / clips,
        unit=SHARE,
        limit=least,
        bound=Bound.AT_LEAST,
        worst_index=(flipped[0].clip, flipped[0].candidate_class) if flipped else None,
    )


def top5_measure(reference_nc: Array, candidate_nc: Array) -> Measure:
    """The share of the reference's five best classes that are among the candidate's; reported, not judged."""
    value = top_k_overlap(reference_nc, candidate_nc, 5)
    return Measure(output=LOGITS, metric="top5_agreement", value=value, unit=SHARE)


def _conclusion(measures: Sequence[Measure], taps: Sequence[str], tied: bool) -> tuple[Status, str]:
    failing = [m for m in measures if not m.passed]
    if not failing:
        return Status.PASSED, ""
    if tied and all(m.output == LOGITS and m.metric == TOP1 for m in failing):
        return Status.INCONCLUSIVE, (
            f"{failing[0].sentence()}: the reference holds these classes closer together than the precision resolves; "
            "judge on other clips"
        )
    departure = first_departure(measures, taps)
    if departure is None:
        return Status.FAILED, failing[0].sentence()
    module, measure = departure
    beside = "" if measure is failing[0] else f" ({measure.sentence()})"
    return Status.FAILED, f"{failing[0].sentence()}; first departs at {module}{beside}"


def first_departure(measures: Sequence[Measure], taps: Sequence[str]) -> tuple[str, Measure] | None:
    """The first module outside its limit, in the order in which the network runs them, and the measure that says so.

    ``taps`` are the names of the compared modules in network order. Where all of them agree and the logits do not,
    what stands between the two is the classification head. None when nothing fails, or when only the logits were
    compared.
    """
    for output, module in (*((tap, tap) for tap in taps), *([(FEATURES, NORM), (LOGITS, HEAD)] if taps else [])):
        for measure in measures:
            if measure.output == output and not measure.passed:
                return module, measure
    return None
