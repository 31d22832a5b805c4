"""A build in a process of its own: its lines as they come, a time limit, and an end that takes nothing with it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_STDERR_TAIL_CHARS = 4000
_HAS_GROUPS = sys.platform != "win32"


@dataclass(frozen=True)
class Ending:
    """How a child ended. ``returncode`` is negative for a signal; ``stderr`` is the end of what it said there."""

    returncode: int
    timed_out: bool
    stderr: str

    @property
    def signal_name(self) -> str:
        """SIGABRT and so on; empty for a child that ended by itself."""
        if self.returncode >= 0:
            return ""
        try:
            return signal.Signals(-self.returncode).name
        except ValueError:
            return f"signal {-self.returncode}"


def run_child(
    command: Sequence[str],
    *,
    folder: Path,
    environment: dict[str, str],
    timeout_s: float,
    on_line: Callable[[str], None],
) -> Ending:
    """Run a command in ``folder`` and hand on each line of its stdout; kill its whole process group at the time limit.

    The child's stdin stays open as long as we live: a child that reads it learns of our death. An exception from
    ``on_line``, or Ctrl-C, kills the child before it travels on.
    """
    errors = folder / "stderr.txt"
    with errors.open("wb") as stderr:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=_HAS_GROUPS,
        )
    try:
        timed_out = not _pump(child, time.monotonic() + timeout_s, on_line)
    finally:
        _kill(child)
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()
    tail = errors.read_text(encoding="utf-8", errors="replace")[-_STDERR_TAIL_CHARS:]
    return Ending(child.returncode, timed_out, tail)


def _pump(child: subprocess.Popen[str], deadline: float, on_line: Callable[[str], None]) -> bool:
    """Hand on lines until the child has ended (True) or the time is up (False)."""
    assert child.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(child.stdout, lines), daemon=True).start()
    while (left := deadline - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=left)
        except queue.Empty:
            return False
        if line is None:
            try:
                child.wait(timeout=max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                return False
            return True
        on_line(line)
    return False


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    try:
        for line in stream:
            lines.put(line)
    except ValueError:
        pass  # closed under us: the child was killed and nobody listens any more
    finally:
        lines.put(None)


def _kill(child: subprocess.Popen[str]) -> None:
    if child.poll() is not None:
        return
    if _HAS_GROUPS:
        # A group of its own, started above: only the child and what it started.
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()
