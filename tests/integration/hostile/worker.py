"""One worker of an attack: forges an input, runs the command on it, and judges how that ended."""

from __future__ import annotations

import json
import os
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from tests.integration.hostile.arena import ENTRY, KILLED_AFTER_S, Arena, in_fork, load_libraries
from tests.integration.hostile.case import DONE, Case, Finding, Outcome, Run, Verdict
from tests.integration.hostile.clean import lay
from tests.integration.hostile.interruptions import KIND, Interrupter
from tests.integration.hostile.judging import judged, written_outside
from tests.integration.hostile.kinds.sidecars import BESIDE
from tests.integration.hostile.snapshot import changes, snapshot

KINDS = {
    "bundle": "bundles", "graph": "graphs", "golden": "goldens", "sidecar": "sidecars", "checkpoint": "checkpoints",
    "labels": "labels", "video": "videos",
}  # fmt: skip
# Every so many inputs the installed program reads the same input too, and has to end alike.
CONSOLE_EVERY = 50


class Worker:
    """Lives long in a process of its own: see ``Arena``."""

    def __init__(self, clean: Path, root: Path, *, exports: bool = True) -> None:
        self._clean = clean.absolute()
        self._arena = Arena(root.absolute())
        load_libraries(exports=exports)
        self._interrupter = Interrupter(self._arena, self._clean)
        self._results: dict[tuple[str, ...], dict[str, Any] | None] = {}

    def attack(self, kind: str, seed: int, entry: str = ENTRY, killed_after_s: float = KILLED_AFTER_S) -> Finding:
        """The input ``kind``:``seed``, and how its command ended."""
        case = self._forged(kind, seed)
        before = snapshot(self._arena.root)
        run = self._arena.run(case.args, entry, killed_after_s)
        changed = changes(before, snapshot(self._arena.root))
        verdict = self._judged(kind, seed, case, run, changed, entry)
        finding = Finding(kind, seed, case, run, verdict.outcome, verdict.why, verdict.faults)
        if seed % CONSOLE_EVERY == 0 and entry == ENTRY and not run.stopped:
            finding = self._by_console(finding)
        return finding

    def interrupt(self, number: int, count: int) -> Finding:
        """The interruption of that number of so many: see ``interruptions``."""
        return self._interrupter.interrupt(number, count)

    def _forged(self, kind: str, seed: int) -> Case:
        self._arena.clear()
        return in_fork(partial(_forge, kind, seed, self._clean, self._arena.work))

    def _judged(self, kind: str, seed: int, case: Case, run: Run, changed: tuple[str, ...], entry: str) -> Verdict:
        if run.code != DONE:
            return judged(case, run, changed, None)
        told = run
        if "--json" not in case.args:
            # Judged by its JSON: the same input again.
            told = self._arena.run((*self._forged(kind, seed).args, "--json"), entry)
        verdict = judged(
            case, replace(run, out=told.out) if told.code == DONE else run, changed, self._clean_result(case)
        )
        return verdict

    def _clean_result(self, case: Case) -> dict[str, Any] | None:
        """The JSON of the same command on the clean input; computed once."""
        args = tuple(arg for arg in case.args if arg not in ("--json", "-v"))
        key = (case.base, *args)
        if key not in self._results:
            self._arena.clear()
            in_fork(partial(lay, self._clean, case.base, self._arena.work))
            run = self._arena.run((*_of_clean(args), "--json"))
            self._results[key] = json.loads(run.out.splitlines()[-1]) if run.code == DONE else None
        return self._results[key]

    def _by_console(self, finding: Finding) -> Finding:
        """Exit code and error of the installed program on the same input, which have to be the fork's."""
        case = self._forged(finding.kind, finding.seed)
        before = snapshot(self._arena.root)
        run = self._arena.run_console(case.args)
        changed = changes(before, snapshot(self._arena.root))
        faults = () if run.code == DONE else judged(case, run, changed, None).faults
        if run.code == DONE:
            faults = tuple(written_outside(case, run, changed))
        mine, theirs = ((one.code, _errors(one)) for one in (finding.run, run))
        if mine != theirs:
            faults = (f"ends otherwise: {theirs}, not {mine}", *faults)
        faults = (*finding.faults, *(f"the installed program: {fault}" for fault in faults))
        return replace(finding, console=True, faults=faults, outcome=Outcome.FAULT if faults else finding.outcome)


def start(clean: str, root: str, exports: bool = True) -> None:
    """Makes this process a worker; ``exports``: it loads early what whole exports need."""
    global _worker
    # Ignored in the background of a script, and so by all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _worker = Worker(Path(clean), Path(root) / f"worker-{os.getpid()}", exports=exports)


def attack(kind: str, seed: int, entry: str = ENTRY, killed_after_s: float = KILLED_AFTER_S) -> Finding:
    return _or_broken(kind, seed, lambda worker: worker.attack(kind, seed, entry, killed_after_s))


def interrupt(number: int, count: int) -> Finding:
    return _or_broken(KIND, number, lambda worker: worker.interrupt(number, count))


def _or_broken(kind: str, seed: int, work: Callable[[Worker], Finding]) -> Finding:
    """A harness that fails on one input is a fault of that one: hours of others are not lost."""
    assert _worker is not None
    try:
        return work(_worker)
    except Exception as error:
        fault = f"the harness failed: {type(error).__name__}: {error}"
        nothing = Run(code=1, out="", err="", seconds=0, cpu_seconds=0, peak_bytes=0)
        return Finding(kind, seed, Case("nothing", "", ("none",)), nothing, Outcome.FAULT, "", (fault,))


_worker: Worker | None = None


def _forge(kind: str, seed: int, clean: Path, work: Path) -> Case:
    forge = import_module(f"tests.integration.hostile.kinds.{KINDS[kind]}").forge
    with warnings.catch_warnings():
        # Libraries warn of what is forged here.
        warnings.simplefilter("ignore")
        # A text as seed: the same draws on every machine.
        case: Case = forge(Random(f"{kind}:{seed}"), clean, work)
    return case


def _of_clean(args: tuple[str, ...]) -> tuple[str, ...]:
    """The clean video has its usual name, and no file stands beside a clean bundle."""
    usual = tuple("--video=clip.mp4" if arg.startswith("--video=") else arg for arg in args)
    beside = next((usual.index(name) for name in BESIDE if name in usual), len(usual))
    return (*usual[:beside], *usual[beside + 2 :])


def _errors(run: Run) -> list[str]:
    return [line for line in run.err.splitlines() if line.startswith("error: ")]
