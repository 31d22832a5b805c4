"""Signals at times spread over an export and a build: they end it, nothing stays half-written, the next run is well."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.integration.hostile.arena import PROGRAM, Arena, Stop, in_fork
from tests.integration.hostile.case import DONE, Case, Finding, Outcome, Run
from tests.integration.hostile.clean import CHECKPOINTS, lay
from tests.integration.hostile.snapshot import changes, snapshot

KIND = "interrupt"
_MOST_S = 2.0
_EXPORT = (
    "export",
    "--checkpoint",
    CHECKPOINTS["own"],
    "--precision",
    "fp16",
    "--builder",
    "rtx",
    "--target",
    "rtx-30",
)
# What is interrupted, and the clean input that it works on.
WORKS = {
    "export": ("own", (*_EXPORT, "-o", "out", "-q")),
    "export over a bundle": ("over", (*_EXPORT, "-o", "out", "-q", "--overwrite")),
    "build": ("fp16", ("build", "bundle", "--builder", "rtx", "--target", "rtx-40", "-q")),
}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
_ENDS = {
    signal.SIGINT: (130, "error: interrupted; nothing half-written was left behind"),
    signal.SIGTERM: (143, "error: terminated; nothing half-written was left behind"),
}
_ATTEMPTS = 4


@dataclass(frozen=True)
class Interruption:
    """One signal at one time of one work."""

    work: str  #: A name of WORKS.
    signal: signal.Signals
    share: float  #: Of the time that the work takes.

    @classmethod
    def numbered(cls, number: int, count: int) -> Interruption:
        """Each work meets each signal, at times that are spread evenly."""
        return cls(list(WORKS)[number % 3], _SIGNALS[number // 3 % 3], (number + 0.5) / count)


class Interrupter:
    """Interrupts works in an arena."""

    def __init__(self, arena: Arena, clean: Path, program: tuple[str, ...] = PROGRAM) -> None:
        self._arena, self._clean, self._program = arena, clean, program
        self._takes_s: dict[str, float] = {}

    def interrupt(self, number: int, count: int) -> Finding:
        """The interruption of that number. One that came too late is tried again, earlier."""
        what = Interruption.numbered(number, count)
        base, args = WORKS[what.work]
        whole = self._duration(what.work)
        for attempt in range(_ATTEMPTS):
            after_s = what.share * whole * 0.7**attempt
            self._lay(what.work)
            before = snapshot(self._arena.root)
            run = self._arena.run_console(args, Stop(what.signal, after_s), self._program)
            if run.obeyed_s is not None and run.code != DONE:
                break
        case = Case(f"{what.signal.name} after {after_s:.2f} s of {whole:.2f} s: {what.work}", base, args)
        changed = changes(before, snapshot(self._arena.root))
        faults = tuple(
            self._killed(case, run) if what.signal == signal.SIGKILL else self._ended(what, case, run, changed)
        )
        outcome = Outcome.FAULT if faults else Outcome.STOPPED
        why = f"obeyed after {run.obeyed_s or 0:.2f} s; {'changed its output' if changed else 'nothing was left'}"
        return Finding(KIND, number, case, run, outcome, why, faults, console=True)

    def _ended(self, what: Interruption, case: Case, run: Run, changed: tuple[str, ...]) -> Iterator[str]:
        code, line = _ENDS[what.signal]
        if run.code != code or run.err.splitlines() != [line]:
            yield f"expected exit {code} and one line, got exit {run.code} and {run.err[-300:]!r}"
        if (run.obeyed_s or 0) > _MOST_S:
            yield f"took {run.obeyed_s:.2f} s to end"
        if run.left:
            yield f"left processes behind: {', '.join(run.left)}"
        yield from self._left(case, changed)
        yield from self._whole(case)

    def _killed(self, case: Case, run: Run) -> Iterator[str]:
        """No process may stay; the bundle is the old or the new one; the next run removes what was left."""
        if run.left:
            yield f"left processes behind: {', '.join(run.left)}"
        yield from self._whole(case)
        again = (*case.args, *(("--overwrite",) if case.command == "export" and "--overwrite" not in case.args else ()))
        run = self._arena.run_console(again, program=self._program)
        if run.code != DONE:
            yield f"the next run: exit {run.code}, {run.err[-300:]!r}"
        left = [name for name in snapshot(self._arena.root) if _is_ours(name)]
        if left:
            yield f"left behind by the next run: {', '.join(left[:4])}"
        yield from self._whole(case)

    def _left(self, case: Case, changed: tuple[str, ...]) -> Iterator[str]:
        output = case.outputs[0]
        if outside := [name for name in changed if name.split("/")[:2] != ["work", output]]:
            yield f"left behind: {', '.join(outside[:4])}"

    def _whole(self, case: Case) -> Iterator[str]:
        """What lies in the output's place is a bundle, where something does."""
        output = case.outputs[0]
        if not (self._arena.work / output).exists():
            return
        if (self._arena.work / output / ".pending").exists() and case.command == "export":
            yield "an export left .pending"
        run = self._arena.run(("info", output))
        if run.code != DONE:
            yield f"the bundle is not whole: {run.err.strip()[:200]}"

    def _duration(self, work: str) -> float:
        """Seconds of the whole work, once measured."""
        if work not in self._takes_s:
            self._lay(work)
            run = self._arena.run_console(WORKS[work][1], program=self._program)
            if run.code != DONE:
                raise RuntimeError(f"{work} does not end well without a signal: exit {run.code}, {run.err}")
            self._takes_s[work] = run.seconds
        return self._takes_s[work]

    def _lay(self, work: str) -> None:
        self._arena.clear()
        in_fork(partial(_lay, self._clean, WORKS[work][0], self._arena.work))


def _lay(clean: Path, base: str, work: Path) -> None:
    if base == "over":
        lay(clean, "fp32", work)
        (work / "bundle").rename(work / "out")
        base = "own"
    lay(clean, base, work)


def _is_ours(name: str) -> bool:
    """Whether a killed process of ours may have left it: a temporary file, a directory beside the output."""
    return name.startswith(("tmp/", "work/.")) or "/.pending" in name
