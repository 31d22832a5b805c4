"""Where a graph departs from its reference: the first module, in the order in which the network runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftsf_export.network.scope import HEAD, LOGITS
from ftsf_export.verdict import Measure


@dataclass(frozen=True)
class Departure:
    """The first module whose output is outside its limit.

    Attributes:
        module: its name.
        measure: the measure that says so.
    """

    module: str
    measure: Measure


def first_departure(measures: Sequence[Measure], taps: Sequence[str]) -> Departure | None:
    """The first failing module, or None when none fails or when only the logits were compared.

    ``taps`` are the names of the compared modules in network order. Where all of them agree and the logits do not,
    what stands between the two is the classification head.
    """
    for tap in taps:
        for measure in measures:
            if measure.output == tap and not measure.passed:
                return Departure(tap, measure)
    if not taps:
        return None
    for measure in measures:
        if measure.output == LOGITS and not measure.passed:
            return Departure(HEAD, measure)
    return None
