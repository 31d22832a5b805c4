"""Verdicts: what a gate found, about which file, on what evidence.

Values only: ``network.gates`` names the gates, ``parity`` and ``engine`` judge.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from fast_timesformer.rules import choice
from ftsf_export.errors import GateFailed
from ftsf_export.strict_json import SHA256, Count, Figure, Sha256

# The unit of a measure that is a part of a whole, from 0 to 1.
SHARE = "share"
# The commands that record verdicts in a bundle.
RECORDERS = ("export", "verify", "build")


class Status(str, Enum):
    """Only ``PASSED`` is ever green."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not_run"


WORST_FIRST = (Status.FAILED, Status.INCONCLUSIVE, Status.PASSED, Status.NOT_RUN)


class Bound(str, Enum):
    """On which side of its limit a value has to stay: whether less of it is better, or more."""

    AT_MOST = "at_most"
    AT_LEAST = "at_least"


@dataclass(frozen=True)
class Subject:
    """The file that a verdict is about. Raises ValueError without a file or without a whole hash.

    Attributes:
        file: its path in the bundle.
        sha256: its hash when it was judged, in hexadecimal; a verdict says nothing about another content.
    """

    file: str
    sha256: Sha256

    def __post_init__(self) -> None:
        if not self.file or not SHA256.holds(self.sha256):
            raise ValueError(f"a subject is a file and its SHA-256, got {self.file!r} and {self.sha256!r}")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure, held against a limit or only reported. Raises ValueError for a limit that is no number.

    Attributes:
        output: what was measured: an output of the graph, a module, the kernels of a plan.
        metric: the figure's name.
        value: the figure, in ``unit``; NaN and infinity may stand here and never pass.
        unit: ``SHARE`` for a part of a whole; "" for a count or a ratio.
        limit: the limit, in ``unit``; None for a figure that is reported and not judged.
        bound: on which side of the limit the value has to stay.
        worst_index: where in the output the figure was met, clip first; None where it belongs to no place.
        inconclusive: why the figure speaks neither for nor against, although it has a limit; "" where it decides.
    """

    output: str
    metric: str
    value: Figure
    unit: str = ""
    limit: float | None = None
    bound: Bound = Bound.AT_MOST
    worst_index: tuple[Count, ...] | None = None
    inconclusive: str = ""

    def __post_init__(self) -> None:
        if self.limit is not None and not math.isfinite(self.limit):
            raise ValueError(f"{self.output}: {self.metric}: the limit {self.limit} is no number")

    @property
    def judged(self) -> bool:
        """Whether it decides: it has a limit and is not inconclusive."""
        return self.limit is not None and not self.inconclusive

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it: the value is a number, and on the right side of its limit where it is
        judged."""
        if not math.isfinite(self.value):
            return False
        if self.limit is None or self.inconclusive:
            return True
        return self.value >= self.limit if self.bound is Bound.AT_LEAST else self.value <= self.limit

    def sentence(self) -> str:
        """The measure as a user reads it: output, metric, value, limit, worst index."""
        limit = "" if self.limit is None else f", limit {self.bound.value.replace('_', ' ')} {self.limit:.3g}"
        where = "" if self.worst_index is None else f", worst at {list(self.worst_index)}"
        decides = f", inconclusive: {self.inconclusive}" if self.inconclusive else ""
        return f"{self.output}: {self.metric} {self.value:.3g}{limit}{where}{decides}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one gate found about one file.

    Raises ValueError when it passed without a measure that has a limit, or with one outside its limit, and when it did
    not pass and gives no reason.

    Attributes:
        gate: the gate's name, for example ``parity.fp16-emulated``; see ``network.gates``.
        status: passed, failed, inconclusive or not run.
        subject: the judged file.
        reason: why, in one sentence; required unless the gate passed.
        proxy_for: what this verdict stands in for, when the real thing was not run ("fp16 on a GPU"); else empty.
        measures: the evidence.
        own_limits: the user's own limits that it was judged at, as they were written ("rtol 1e-09"); "" for those of
            the precision.
        conditions: how the file was run, where that can differ: at which batches, with which kernels; else empty.
        recorded_by: the command that recorded it in the bundle that it was read from; "" where it was just judged.
    """

    gate: str
    status: Status
    subject: Subject
    reason: str = ""
    proxy_for: str = ""
    measures: tuple[Measure, ...] = ()
    own_limits: str = ""
    conditions: str = ""
    recorded_by: Annotated[str, choice("", *RECORDERS)] = ""

    def __post_init__(self) -> None:
        if not self.passed:
            if not self.reason:
                raise ValueError(f"verdict {self.gate!r} is {self.status.value} without a reason")
            return
        if not any(measure.judged for measure in self.measures):
            raise ValueError(f"verdict {self.gate!r} passed with no evidence")
        if outside := [measure for measure in self.measures if not measure.passed]:
            raise ValueError(f"verdict {self.gate!r} passed against its evidence: {outside[0].sentence()}")

    @property
    def passed(self) -> bool:
        return self.status is Status.PASSED

    def __bool__(self) -> bool:
        """Whether it passed."""
        return self.passed

    def __repr__(self) -> str:
        return f"<{self.sentence()}>"

    def sentence(self) -> str:
        """The verdict in one line: gate, status, file, and why it did not pass."""
        return f"{self.gate} {self.status.value} for {self.subject.file}{self.reason and f': {self.reason}'}"

    @property
    def question(self) -> tuple[str, str, str]:
        """Gate, file and limits: of two verdicts on one question the later one counts."""
        return self.gate, self.subject.file, self.own_limits

    @property
    def provenance(self) -> str:
        """Who recorded it, in words; "" where it was just judged. A file says this of itself, and proves nothing."""
        if not self.recorded_by:
            return ""
        when = "at the export" if self.recorded_by == "export" else f"by ftsf {self.recorded_by}"
        return f"recorded {when}, not judged here"


def outcome(verdicts: Iterable[Verdict]) -> str:
    """How many gates ended how, the worst first: "1 failed, 3 passed, 2 not run". No single word for all of them:
    half a proof is not green."""
    found = Counter(verdict.status for verdict in verdicts)
    said = [f"{found[status]} {status.value.replace('_', ' ')}" for status in WORST_FIRST if found[status]]
    return ", ".join(said) or "no gate was run"


def raise_for_failed(verdicts: Iterable[Verdict]) -> None:
    """Raises GateFailed with the sentence of the verdict that speaks first against its file, where one does."""
    for verdict in failing(verdicts):
        raise GateFailed(verdict.sentence())


def failing(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """The verdicts that speak against their file: failed first, then inconclusive, for a gate that could not decide is
    no pass. One that was not run (no GPU here) is not counted against it."""
    known = tuple(verdicts)
    order = (Status.FAILED, Status.INCONCLUSIVE)
    return tuple(verdict for status in order for verdict in known if verdict.status is status)
