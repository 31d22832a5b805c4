"""From a histogram of magnitudes to the largest magnitude that 8 bits are to hold: the range of a scale.

Methods: ``max``, the largest seen; ``percentile``, that of 99.99 % of the values; ``mse``, the least mean square of
what rounding and clipping change; ``entropy``, the least Kullback-Leibler divergence from the values to the rounded
ones (S. Migacz, 8-bit inference with TensorRT, GTC 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ftsf_export.config import CALIBRATIONS

Array = npt.NDArray[np.float64]
BINS = 2048
# The largest integer of a symmetric scale; -128 is not used, so that a number and its negative round alike.
LEVELS = 127
_PERCENTILE = 0.9999
_CANDIDATES = 96


@dataclass(frozen=True)
class Histogram:
    """Magnitudes of a tensor's values in ``BINS`` equal bins from 0 to ``top``."""

    counts: npt.NDArray[np.int64]  #: (BINS,).
    top: float  #: Upper end of the last bin: a power of two.
    largest: float  #: The largest magnitude seen.

    @classmethod
    def empty(cls) -> Histogram:
        return cls(np.zeros(BINS, np.int64), 0.0, 0.0)

    def with_values(self, values: npt.NDArray[np.floating], largest: float | None = None) -> Histogram:
        """The same with more values; ``largest``: of all the values that these are a sample of.

        The range grows by factors of two, each of which makes one bin of two: nothing is counted anew.
        """
        sizes = np.abs(values).ravel()
        largest = max(self.largest, float(sizes.max(initial=0.0)) if largest is None else largest)
        counts, top = self.counts, self.top
        if largest > top:
            new = float(2.0 ** np.ceil(np.log2(largest)))
            counts = _merged(counts, round(np.log2(new / top))) if top else counts
            top = new
        if top:
            bins = np.minimum((sizes * (BINS / top)).astype(np.int64), BINS - 1)
            counts = counts + np.bincount(bins, minlength=BINS)
        return Histogram(counts, top, largest)

    def joined(self, other: Histogram) -> Histogram:
        """That of the values of both."""
        top = max(self.top, other.top)
        if not top:
            return self
        parts = [_merged(one.counts, round(np.log2(top / one.top))) for one in (self, other) if one.top]
        return Histogram(np.sum(parts, axis=0), top, max(self.largest, other.largest))

    @property
    def centres(self) -> Array:
        centres: Array = (np.arange(BINS, dtype=np.float64) + 0.5) * (self.top / BINS)
        return centres


def histogram_of(values: npt.NDArray[np.floating]) -> Histogram:
    return Histogram.empty().with_values(values)


def range_of(histogram: Histogram, method: str) -> float:
    """The magnitude that becomes ``LEVELS``; 0 where every value is 0. Raises ValueError for an unknown method."""
    if method not in CALIBRATIONS:
        raise ValueError(f"expected one of {', '.join(CALIBRATIONS)}, got {method!r}")
    if not histogram.largest or method == "max":
        return histogram.largest
    if method == "percentile":
        share = np.cumsum(histogram.counts) / histogram.counts.sum()
        end = (int(np.searchsorted(share, _PERCENTILE)) + 1) * (histogram.top / BINS)
        return min(end, histogram.largest)
    if method == "mse":
        # Down to a sixty-fourth, each 4 % below the one before.
        candidates = histogram.largest * 2.0 ** (-np.arange(_CANDIDATES) / 16)
        return float(min(candidates, key=lambda end: mean_square(histogram, end)))
    return _by_entropy(histogram)


def mean_square(histogram: Histogram, end: float) -> float:
    """Mean square of what 8 bits with the range ``end`` change."""
    centres, scale = histogram.centres, end / LEVELS
    kept = np.minimum(np.round(centres / scale), LEVELS) * scale
    return float((histogram.counts * (centres - kept) ** 2).sum() / histogram.counts.sum())


def scale_of(end: float) -> np.float32:
    """The scale of a range: the next number up that FP16 holds too, so that both kinds of graph have the same.

    A tensor of zeros has the scale one.
    """
    if not end:
        return np.float32(1.0)
    wide = np.float32(end / LEVELS)
    half = np.float16(wide)
    if np.float32(half) < wide:
        half = np.nextafter(half, np.float16(np.inf))
    return np.float32(half)


def _merged(counts: npt.NDArray[np.int64], doublings: int) -> npt.NDArray[np.int64]:
    for _ in range(min(doublings, int(np.log2(BINS)))):
        counts = np.concatenate((counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)))
    return counts


def _by_entropy(histogram: Histogram) -> float:
    counts = histogram.counts.astype(np.float64)
    used = int(np.nonzero(counts)[0][-1]) + 1
    steps = np.unique(np.linspace(min(LEVELS + 1, used), used, _CANDIDATES).astype(int))
    best = min(steps, key=lambda size: _divergence(counts, int(size)))
    return min(int(best) * (histogram.top / BINS), histogram.largest)


def _divergence(counts: Array, size: int) -> float:
    """Of the first ``size`` bins, what lies beyond added to the last, from the same in ``LEVELS + 1`` levels."""
    kept = counts[:size].copy()
    wanted = kept.copy()
    wanted[-1] += counts[size:].sum()
    level = np.arange(size) * (LEVELS + 1) // size
    there = kept > 0
    sums = np.bincount(level, weights=kept, minlength=LEVELS + 1)
    holders = np.bincount(level, weights=there, minlength=LEVELS + 1)
    rounded = np.where(there, sums[level] / np.maximum(holders[level], 1), 0.0)
    wanted, rounded = wanted / wanted.sum(), rounded / max(rounded.sum(), 1.0)
    both = wanted > 0
    # A bin that clipping alone fills has no counterpart: it is given the least share, not none.
    return float((wanted[both] * np.log(wanted[both] / np.maximum(rounded[both], 1e-12))).sum())
