"""How often a model's best classes are the right ones, on videos whose classes are known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

# Of a normal distribution: 95 % lie within so many standard deviations.
_Z_95 = 1.959963984540054
TOP = 5
_WORST = 5


@dataclass(frozen=True)
class Share:
    """A part of a whole that was counted."""

    right: int  #: How many were right.
    of: int  #: Of how many.
    share: float  #: From 0 to 1.
    interval: tuple[float, float]  #: Of 95 % (Wilson 1927): where the share of all such videos may well be.


@dataclass(frozen=True)
class Confusion:
    """A class whose videos were taken for others."""

    label: str  #: The class.
    right: int  #: How many of its videos were recognised.
    of: int  #: How many videos it has.
    taken_for: str  #: The class that they were most often taken for.
    times: int  #: How often.


@dataclass(frozen=True)
class Accuracy:
    """Of the videos whose class is known."""

    top1: Share  #: The best class is the right one.
    top5: Share | None  #: The right one is among the five best; None for a model of five classes or fewer.
    worst: tuple[Confusion, ...]  #: The classes that are recognised least, at most five, the worst first.


class Tally:
    """Counts answers as they come. Its size depends on the number of classes alone."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._answers: Counter[tuple[int, int]] = Counter()
        self._top5 = 0

    def add(self, right: int, answered: int, rank: int) -> None:
        """A video of the class ``right``, for which the model's best is ``answered`` and the right one comes at place
        ``rank`` (1: the best)."""
        self._answers[right, answered] += 1
        self._top5 += rank <= TOP

    def accuracy(self, name: Callable[[int], str]) -> Accuracy | None:
        """None where no answer was counted. ``name`` gives that of a class."""
        count = self._answers.total()
        if not count:
            return None
        right = sum(times for (wanted, got), times in self._answers.items() if wanted == got)
        top5 = share_of(self._top5, count) if self._classes > TOP else None
        return Accuracy(share_of(right, count), top5, self._worst(name))

    def _worst(self, name: Callable[[int], str]) -> tuple[Confusion, ...]:
        of: Counter[int] = Counter()
        wrong: dict[int, tuple[int, int]] = {}
        for (wanted, got), times in sorted(self._answers.items()):
            of[wanted] += times
            if wanted != got and times > wrong.get(wanted, (0, 0))[0]:
                wrong[wanted] = (times, got)
        found = [
            Confusion(name(wanted), self._answers[wanted, wanted], of[wanted], name(got), times)
            for wanted, (times, got) in wrong.items()
        ]
        return tuple(sorted(found, key=lambda one: (one.right / one.of, -one.of, one.label))[:_WORST])


def share_of(right: int, of: int) -> Share:
    """With its Wilson interval (E. B. Wilson, Probable Inference, 1927), which holds for few videos too."""
    share, spread = right / of, _Z_95**2 / of
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return Share(right, of, share, (max(0.0, centre - half), min(1.0, centre + half)))
