"""From logits to the classes that a person reads: scores after softmax, and the best of them.

Letters: L classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.strict_json import Count

TOP = 5


@dataclass(frozen=True)
class ClassScore:
    """One class, and how probable the model takes it to be."""

    index: Count  #: Its place among the logits.
    label: str  #: Its name; "" where it has none.
    score: float  #: After softmax, 0 to 1.


def scores_from_logits(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Softmax over the last axis, (..., L) -> (..., L), in float64. Logits that are not finite give NaN."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
        scores: npt.NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def best_classes(scores_L: npt.NDArray[Any], labels: Sequence[str] = (), count: int = TOP) -> tuple[ClassScore, ...]:
    """The ``count`` classes of the highest scores, the best first; of equal ones that of the lower index first.

    Raises ValueError where a score is not finite: NaN has no place in an order.
    """
    if not np.isfinite(scores_L).all():
        raise ValueError("best_classes: expected finite scores, got NaN or infinity")
    order = np.argsort(-scores_L, kind="stable")[:count]
    return tuple(ClassScore(int(i), labels[i] if i < len(labels) else "", float(scores_L[i])) for i in order)


def rank_of(scores_L: npt.NDArray[Any], index: int) -> int:
    """The place of one class in the order of ``best_classes``: 1 is the best."""
    return int(np.flatnonzero(np.argsort(-scores_L, kind="stable") == index)[0]) + 1
