"""What a day on a GPU consists of, and how it is run: each step in a process of its own, so that it falls alone.

Nothing is installed and nothing is fetched. What is missing on a machine is said, and the rest is run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ftsf_export.errors import EnvironmentLacks, FtsfError, RunError
from ftsf_export.process.parent import Ending, run_in_child

DONE, WRONG, BROKE, NOT_RUN = "done", "wrong", "broke", "not run"
# The worst first, with the exit code of a day that had it.
EXIT_CODES = {WRONG: 1, BROKE: 4, NOT_RUN: 3, DONE: 0}

Row = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """What one process does."""

    title: str  #: In words.
    target: str  #: "module:function", a handler of ``process.child``; it tells a row after each figure.
    value: Any  #: What the handler is given.
    timeout_s: float  #: After which it is killed.


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    name: str  #: What ``--section`` takes.
    title: str  #: Its heading.
    adds: str  #: What it shows, in one sentence: what a machine without a GPU cannot.
    steps: tuple[Step, ...]  #: In their order.
    needs_gpu: bool = True  #: Whether there is nothing to run without one.


@dataclass
class Outcome:
    """What became of a step. ``rows`` grows while it runs."""

    title: str  #: The step's.
    status: str = NOT_RUN  #: One of EXIT_CODES.
    reason: str = ""  #: Why it is not DONE.
    seconds: float = 0.0  #: By the clock.
    rows: list[Row] = field(default_factory=list)  #: What it told. One with "right": false makes the step WRONG.


@dataclass
class Day:
    """Everything that was found so far."""

    rehearsal: bool  #: Whether sizes are small and no figure means anything.
    gpu_problem: str  #: Why there is no GPU; "" where there is one.
    sections: dict[str, tuple[Section, list[Outcome]]] = field(default_factory=dict)  #: By name, in their order.

    def rows(self, section: str) -> list[Row]:
        """All rows of a section; none where it was not run."""
        _, outcomes = self.sections.get(section, (None, []))
        return [row for outcome in outcomes for row in outcome.rows]

    @property
    def exit_code(self) -> int:
        found = {outcome.status for _, outcomes in self.sections.values() for outcome in outcomes}
        return next((code for status, code in EXIT_CODES.items() if status in found), EXIT_CODES[NOT_RUN])

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "schema_version": 1,
            "rehearsal": self.rehearsal,
            "gpu_problem": self.gpu_problem,
            "exit_code": self.exit_code,
            "sections": [
                {"name": one.name, "title": one.title, "adds": one.adds, "steps": [asdict(step) for step in outcomes]}
                for one, outcomes in self.sections.values()
            ],
        }


def run_day(
    day: Day, sections: Mapping[str, Section], *, write: Callable[[Day], None], say: Callable[[str], None]
) -> None:
    """Run all steps; ``write`` is called after each, so that what is cut short leaves what it had."""
    for name, section in sections.items():
        outcomes: list[Outcome] = []
        day.sections[name] = (section, outcomes)
        for step in section.steps:
            outcomes.append(Outcome(step.title))
            if section.needs_gpu and day.gpu_problem:
                outcomes[-1].reason = day.gpu_problem
                continue
            say(f"{section.title}: {step.title}")
            _run(step, outcomes[-1])
            write(day)
    write(day)


def _run(step: Step, outcome: Outcome) -> None:
    began = time.monotonic()
    try:
        run_in_child(step.target, step.value, failed=_failed, on_note=outcome.rows.append, timeout_s=step.timeout_s)
    except EnvironmentLacks as error:
        outcome.status, outcome.reason = NOT_RUN, error.message
    except FtsfError as error:
        outcome.status, outcome.reason = BROKE, error.message
    else:
        outcome.status = DONE
    outcome.seconds = round(time.monotonic() - began, 1)
    if any(row.get("right") is False for row in outcome.rows):
        outcome.status, outcome.reason = WRONG, outcome.reason or "what is marked below is not as it must be"


def _failed(ending: Ending) -> RunError:
    return RunError(f"its process {ending.how}: {ending.said}", details=ending.details)
