"""Run one job in a process of its own.

Then its peak memory is that of the measurement alone, no other library's threads compete with it, and a runtime that
aborts takes nothing else with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ftsf_export.bench.job import Job
from ftsf_export.bench.timing import Timing
from ftsf_export.errors import EnvironmentLacks, FtsfError, RunError

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ftsf_export.bench.isolated import serve; serve()"
)
_RAISED: dict[str, type[EnvironmentLacks] | type[RunError]] = {
    "EnvironmentLacks": EnvironmentLacks,
    "RunError": RunError,
}


def measure_isolated(job: Job) -> tuple[Timing, ...]:
    """The timings of one job. Raises what ``measure`` raises, and RunError when the process dies."""
    # The child must find the same packages as we do, wherever it starts.
    command = [sys.executable, "-c", _START, json.dumps([str(Path(part).resolve()) for part in sys.path])]
    done = subprocess.run(
        command, input=json.dumps(job.as_dict()), capture_output=True, text=True, errors="replace", check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise RunError(
            f"{job.file.name}: the process that measured it with {job.backend} died ({_how(done.returncode)})",
            details=done.stderr,
        ) from None
    if "timings" in answer:
        return tuple(Timing.from_dict(timing) for timing in answer["timings"])
    kind = _RAISED.get(answer["error"], RunError)
    raise kind(answer["message"], details="\n".join(filter(None, [answer["details"], done.stderr])))


def serve() -> None:
    """The child: one job on stdin, one answer on what was stdout; whatever the libraries print goes to stderr."""
    from ftsf_export.bench.measure import measure

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    answer: dict[str, Any]
    try:
        answer = {"timings": [timing.as_dict() for timing in measure(Job.from_dict(json.load(sys.stdin)))]}
    except FtsfError as error:
        answer = {"error": type(error).__name__, "message": error.message, "details": error.details}
    with answers:
        json.dump(answer, answers)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
