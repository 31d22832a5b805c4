"""Verdicts: what a gate found, about which file, on what evidence.

Values only; the judging is in ``parity`` and ``engine``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Status(str, Enum):
    """Only ``PASSED`` is ever green."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not_run"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric of one output held against one limit.

    ``limit`` is None for a figure that is reported and not judged. ``worst_index`` is where in the output the
    largest difference sits, clip first. ``value`` may be NaN or infinite: then ``passed`` is False.
    """

    output: str
    metric: str
    value: float
    limit: float | None = None
    passed: bool = True
    worst_index: tuple[int, ...] | None = None

    def sentence(self) -> str:
        """The measure as a user reads it: output, metric, limit, value, worst index."""
        limit = "" if self.limit is None else f", limit {self.limit:.3g}"
        where = "" if self.worst_index is None else f", worst at {list(self.worst_index)}"
        return f"{self.output}: {self.metric} {self.value:.3g}{limit}{where}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one gate found about one file.

    Attributes:
        gate: the gate's name, for example ``parity.fp16-emulated`` or ``engine.types.rtx``.
        status: passed, failed, inconclusive or not run.
        subject: the judged file, relative to the bundle.
        subject_sha256: its hash when it was judged; a verdict says nothing about another file.
        reason: why, in one sentence; required unless the gate passed.
        proxy_for: what this verdict stands in for, when the real thing was not run ("fp16 on a GPU"); else empty.
        measures: the evidence.
    """

    gate: str
    status: Status
    subject: str
    subject_sha256: str
    reason: str = ""
    proxy_for: str = ""
    measures: tuple[Measure, ...] = ()

    def __post_init__(self) -> None:
        if self.status is not Status.PASSED and not self.reason:
            raise ValueError(f"verdict {self.gate!r} is {self.status.value} without a reason")
        if self.status is Status.PASSED and not self.measures:
            raise ValueError(f"verdict {self.gate!r} passed with no evidence")

    @property
    def passed(self) -> bool:
        return self.status is Status.PASSED

    def as_dict(self) -> dict[str, Any]:
        """JSON form. Non-finite values become the strings "nan", "inf" and "-inf": JSON has no such numbers."""
        return {
            "gate": self.gate,
            "status": self.status.value,
            "subject": self.subject,
            "subject_sha256": self.subject_sha256,
            "reason": self.reason,
            "proxy_for": self.proxy_for,
            "measures": [
                {
                    "output": m.output,
                    "metric": m.metric,
                    "value": m.value if abs(m.value) < float("inf") else str(m.value),
                    "limit": m.limit,
                    "passed": m.passed,
                    "worst_index": None if m.worst_index is None else list(m.worst_index),
                }
                for m in self.measures
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Verdict:
        """Inverse of ``as_dict``. Raises KeyError, TypeError or ValueError on anything else."""
        return cls(
            gate=data["gate"],
            status=Status(data["status"]),
            subject=data["subject"],
            subject_sha256=data["subject_sha256"],
            reason=data["reason"],
            proxy_for=data["proxy_for"],
            measures=tuple(
                Measure(
                    output=m["output"],
                    metric=m["metric"],
                    value=float(m["value"]),
                    limit=m["limit"],
                    passed=m["passed"],
                    worst_index=None if m["worst_index"] is None else tuple(m["worst_index"]),
                )
                for m in data["measures"]
            ),
        )
