"""What an attack is made of: an input that was forged from a seed, and how the command that reads it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any, Protocol

# What every command may do with an input from a stranger.
DONE, GATE_FAILED, REFUSED, LACKS, BROKE = 0, 1, 2, 3, 4
MOST_SECONDS, MOST_BYTES = 10.0, 2 << 30
# Commands that write into the bundle they read.
RECORDING = ("verify", "bench", "build")
# Where a bundle lies whose name on the command line is a link.
LINKED = "elsewhere"


@dataclass(frozen=True)
class Case:
    """A forged input, laid out in the folder of work, and the command line that reads it from there."""

    what: str  #: What was done to the clean input.
    base: str  #: Name of the clean input that it was made of: see ``clean.Clean``.
    args: tuple[str, ...]  #: After ``ftsf``; paths are relative to the folder of work.
    refused: bool = False  #: Whether nothing but a refusal (exit 2) is right.
    also_written: tuple[str, ...] = ()  #: What the command line names for writing, beside the output.

    @property
    def command(self) -> str:
        return self.args[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the command may write, below the folder of work."""
        if self.command == "export":
            return () if "--dry-run" in self.args else (self.args[self.args.index("-o") + 1],)
        return (*(("bundle", LINKED) if self.command in RECORDING else ()), *self.also_written)


class Forge(Protocol):
    """Makes one kind of input below ``work``; the same ``draw`` makes the same input."""

    def __call__(self, draw: Random, clean: Path, work: Path) -> Case: ...


@dataclass(frozen=True)
class Run:
    """One command line, as it ended."""

    code: int  #: Exit code; negative: the signal that killed it.
    out: str  #: Its stdout.
    err: str  #: Its stderr.
    seconds: float  #: From start to end, without those in which other programs had the CPU.
    cpu_seconds: float  #: Of all its processes.
    peak_bytes: int  #: Most memory in use at once by its processes, without the one that only supervises.
    stopped: str = ""  #: Why the harness killed it.
    left: tuple[str, ...] = ()  #: Processes that it left behind.
    obeyed_s: float | None = None  #: From the signal that stopped it to its end; None where none was sent.


class Outcome(str, Enum):
    """How a case ended."""

    HARMLESS = "harmless"
    GATE_FAILED = "gate failed"
    REFUSED = "refused"
    LACKS = "environment lacks"
    BROKE = "stage broke"
    STOPPED = "stopped"
    FAULT = "FAULT"


@dataclass(frozen=True)
class Finding:
    """A case and its ending: a row of the record."""

    kind: str
    seed: int
    case: Case
    run: Run
    outcome: Outcome
    why: str  #: Why it is harmless; else the line of error.
    faults: tuple[str, ...] = ()  #: What must not be.
    console: bool = False  #: Whether the console script was run too, and ended alike.

    def row(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "kind": self.kind, "seed": self.seed, "what": self.case.what, "base": self.case.base,
            "command": "ftsf " + " ".join(self.case.args), "exit": self.run.code, "outcome": self.outcome.value,
            "why": self.why, "faults": list(self.faults), "seconds": round(self.run.seconds, 3),
            "cpu_seconds": round(self.run.cpu_seconds, 3), "peak_mib": self.run.peak_bytes >> 20,
            "console": self.console,
        }  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What the harness makes of one run."""

    outcome: Outcome
    why: str
    faults: tuple[str, ...] = ()
