"""How far one array is from another. Pure NumPy, accumulated in float64.

Letters: n clips, c classes. The first axis of every array is the clip. A figure over several clips is the worst
clip's: a fault in one clip must not be diluted by its sound neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftsf_export.errors import GateFailed
from ftsf_export.network.scope import LOGITS
from ftsf_export.precision import PRECISIONS

Array = NDArray[Any]
Index = tuple[int, ...]
# NumPy takes the types of ml_dtypes for raw memory; those that a graph can have are numbers.
_ELEMENTS = {precision.element for precision in PRECISIONS.values()}


@dataclass(frozen=True)
class WorstCase:
    """A distance, and where it was met."""

    value: float  #: The distance; its unit is that of the field of ``Distance`` that holds it.
    index: Index  #: Where in the output the largest difference sits, clip first.


@dataclass(frozen=True, kw_only=True)
class Distance:
    """How far the candidate's value of one output is from the reference's."""

    max_abs: WorstCase  #: Largest absolute difference, in the output's own unit.
    #: L2 norm of the difference over L2 norm of the reference, in the worst clip; no unit. Where the reference is zero
    #: throughout, it is 0 if the candidate is zero too, else infinite.
    rel_l2: WorstCase
    #: Largest absolute difference over the standard deviation of the reference, both within one clip, in the worst
    #: clip; no unit. Unlike an L2 norm it does not average one wrong class away among hundreds of right ones.
    spread_error: WorstCase
    #: Cosine of the angle between the two in the worst clip, from -1 to 1; 1 where both are zero, 0 where one of them
    #: is.
    cosine: WorstCase


@dataclass(frozen=True)
class NonFinite:
    """NaN or infinite values of one side."""

    side: str  #: "reference" or "candidate".
    count: int  #: How many such values there are.
    size: int  #: Of how many values in all.
    index: Index  #: Where the first of them is, clip first.

    def sentence(self) -> str:
        where = f"the first at {list(self.index)}"
        return f"{self.count} of {self.size} values of the {self.side} are NaN or infinite, {where}"


@dataclass(frozen=True)
class Flip:
    """A clip whose best class differs."""

    clip: int  #: Its place among the clips.
    reference_class: int  #: The class that the reference puts first.
    candidate_class: int  #: The class that the candidate puts first.
    #: How much higher the reference scores its own first class than the candidate's, in units of the logits.
    gap: float


def check_comparable(output: str, reference: Array, candidate: Array) -> None:
    """Raises GateFailed unless both hold at least one value and have one shape. Nothing is broadcast or trimmed."""
    if reference.shape != candidate.shape:
        raise GateFailed(f"{output}: expected shape {reference.shape}, got {candidate.shape}")
    if reference.ndim == 0 or reference.size == 0:
        raise GateFailed(f"{output}: nothing to compare, shape {reference.shape}; no evidence is a failure")
    for side, array in (("reference", reference), ("candidate", candidate)):
        if array.dtype.kind in "cOSUVMm" and array.dtype.name not in _ELEMENTS:
            raise GateFailed(f"{output}: expected real numbers, the {side} has type {array.dtype}")


def nonfinite(reference: Array, candidate: Array) -> NonFinite | None:
    """The first NaN or infinity of either side, the candidate's first; None where all is finite."""
    for side, array in (("candidate", candidate), ("reference", reference)):
        if (bad := bad_values(array)) is not None:
            return NonFinite(side, bad[0], array.size, bad[1])
    return None


def bad_values(array: Array) -> tuple[int, Index] | None:
    """How many values are NaN or infinite, and where the first of them is; None where all are finite."""
    bad = ~np.isfinite(array)
    return (int(bad.sum()), _place(bad)) if bad.any() else None


def _place(array: Array) -> Index:
    """Where the largest value of ``array`` is."""
    return tuple(int(i) for i in np.unravel_index(int(array.argmax()), array.shape))


def distance(output: str, reference: Array, candidate: Array) -> Distance:
    """The distances between two arrays of one shape (n, ...), of which every value is finite.

    Raises GateFailed when the shapes differ, when there is nothing to compare, or on NaN or infinity: what is not
    finite has no distance, so ask ``nonfinite`` first.
    """
    check_comparable(output, reference, candidate)
    if (bad := nonfinite(reference, candidate)) is not None:
        raise GateFailed(f"{output}: {bad.sentence()}")
    # One clip at a time: float64 copies of every tap of every clip would not fit beside the model.
    clips = [_clip_distance(clip, *pair) for clip, pair in enumerate(zip(reference, candidate, strict=True))]
    value = attrgetter("value")
    return Distance(
        max_abs=max((clip.max_abs for clip in clips), key=value),
        rel_l2=max((clip.rel_l2 for clip in clips), key=value),
        spread_error=max((clip.spread_error for clip in clips), key=value),
        cosine=min((clip.cosine for clip in clips), key=value),
    )


def _clip_distance(clip: int, reference: Array, candidate: Array) -> Distance:
    """The distances within clip number ``clip``."""
    ref, got = np.asarray(reference, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    difference = np.abs(got - ref)
    at, largest = (clip, *_place(difference)), float(difference.max())
    # A single value has no spread: then its own size is the scale.
    scale = float(ref.std()) if ref.size > 1 else float(np.abs(ref).max())
    return Distance(
        max_abs=WorstCase(largest, at),
        rel_l2=WorstCase(_ratio(float(np.linalg.norm(difference)), float(np.linalg.norm(ref))), at),
        spread_error=WorstCase(_ratio(largest, scale), at),
        cosine=WorstCase(_cosine(ref, got), at),
    )


def flips(reference_nc: Array, candidate_nc: Array) -> tuple[Flip, ...]:
    """The clips in which the candidate puts another class above the reference's best one. Shapes (n, c), all finite.

    Classes that the candidate holds equal (half precision rounds close scores to one value) are not a flip.
    """
    check_comparable(LOGITS, reference_nc, candidate_nc)
    expected, found = (np.asarray(array, dtype=np.float64) for array in (reference_nc, candidate_nc))
    best, got = expected.argmax(axis=1), found.argmax(axis=1)
    return tuple(
        Flip(n, int(best[n]), int(got[n]), float(expected[n, best[n]] - expected[n, got[n]]))
        for n in range(len(expected))
        if found[n, got[n]] > found[n, best[n]]
    )


def top_k_overlap(reference_nc: Array, candidate_nc: Array, k: int) -> float:
    """Share of the reference's k best classes that are among the candidate's, mean over clips, in [0, 1].

    With fewer than k classes, all of them count. Shapes (n, c).
    """
    check_comparable(LOGITS, reference_nc, candidate_nc)
    k = min(k, reference_nc.shape[1])
    expected, got = (
        np.argsort(-np.asarray(a, dtype=np.float64), axis=1, kind="stable") for a in (reference_nc, candidate_nc)
    )
    shared = [len(set(e[:k]) & set(g[:k])) for e, g in zip(expected, got, strict=True)]
    return float(np.mean(shared) / k)


def _ratio(part: float, whole: float) -> float:
    if whole > 0:
        return part / whole
    return 0.0 if part == 0 else math.inf


def _cosine(reference: Array, candidate: Array) -> float:
    norms = (float(np.linalg.norm(reference)), float(np.linalg.norm(candidate)))
    if min(norms) == 0:
        return 1.0 if max(norms) == 0 else 0.0
    return float(np.clip(np.sum((reference / norms[0]) * (candidate / norms[1])), -1.0, 1.0))


def relative_errors(references: Mapping[str, Array], candidates: Mapping[str, Array]) -> dict[str, float]:
    """Output -> the relative L2 error of its candidate in the worst clip; nothing at all where a value is not a number,
    which is judged elsewhere."""
    pairs = {name: (reference, candidates[name]) for name, reference in references.items()}
    if any(nonfinite(*pair) is not None for pair in pairs.values()):
        return {}
    return {name: distance(name, *pair).rel_l2.value for name, pair in pairs.items()}


def clip_spread(logits_nL: Array) -> Array:
    """(L,) float64: the standard deviation of each logit over the clips, two at least. Values are finite."""
    spread: Array = np.asarray(logits_nL, np.float64).std(axis=0, ddof=1)
    return spread


def clip_spread_error(reference_nL: Array, candidate_nL: Array, spread_L: Array) -> WorstCase:
    """The error of a logit over its own spread between clips, root mean square over the logits of the worst clip.

    At 1 the error is as large as what tells clips apart, which is also what a candidate has that ignores its clip. A
    logit of almost no spread counts with a tenth of the root mean square of all. Infinite where nothing has a spread
    and there is an error. Values are finite.
    """
    check_comparable(LOGITS, reference_nL, candidate_nL)
    error_nL = np.abs(np.asarray(candidate_nL, np.float64) - np.asarray(reference_nL, np.float64))
    spread_L = np.asarray(spread_L, np.float64)
    scale_L = np.maximum(spread_L, np.sqrt(np.mean(spread_L**2)) / 10)
    if not scale_L.any():
        return WorstCase(0.0 if not error_nL.any() else math.inf, _place(error_nL))
    parts_nL = error_nL / scale_L
    each_n = np.sqrt(np.mean(parts_nL**2, axis=1))
    worst = int(each_n.argmax())
    return WorstCase(float(each_n[worst]), (worst, int(parts_nL[worst].argmax())))


def clips_apart(values_nL: Array) -> float:
    """The largest relative L2 distance between the values of the first clip and those of another, relative to the
    larger of the two; 0 where there is one clip, and where all values are 0. Values are finite."""
    values = np.asarray(values_nL, np.float64).reshape(len(values_nL), -1)
    # Scaled first: squares of large values would not be finite.
    values = values / max(float(np.abs(values).max(initial=0.0)), np.finfo(np.float64).tiny)
    norms = np.linalg.norm(values, axis=1)
    distances = np.linalg.norm(values - values[:1], axis=1)
    larger = np.maximum(norms, norms[:1])
    return float(np.divide(distances, larger, out=np.zeros_like(distances), where=larger > 0).max(initial=0.0))
