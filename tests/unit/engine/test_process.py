"""A child process: its lines, its time limit, its crash; nothing of it is left, and nothing else is touched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftsf_export.engine.process import Ending, run_child


def run(code: str, folder: Path, timeout_s: float = 20.0, lines: list[str] | None = None) -> Ending:
    kept = [] if lines is None else lines
    return run_child(
        [sys.executable, "-c", code],
        folder=folder,
        environment=dict(os.environ),
        timeout_s=timeout_s,
        on_line=lambda line: kept.append(line.strip()),
    )


def alive(pid: int) -> bool:
    try:
        # A zombie that nobody has waited for is not alive.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_lines_come_one_by_one_and_stderr_is_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    ending = run("import sys; print('one'); print('two'); print('oh', file=sys.stderr)", tmp_path, lines=lines)
    assert lines == ["one", "two"]
    assert (ending.returncode, ending.timed_out, ending.stderr.strip(), ending.signal_name) == (0, False, "oh", "")


@pytest.mark.parametrize("name", ["SIGABRT", "SIGSEGV"])
def test_a_crash_is_known_by_its_signal(tmp_path: Path, name: str) -> None:
    ending = run(f"import os, signal; os.kill(os.getpid(), signal.{name})", tmp_path)
    assert ending.signal_name == name
    assert not ending.timed_out


def test_the_time_limit_kills_the_child_and_its_children_and_nothing_else(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        lines: list[str] = []
        code = (
            "import os, subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
            "print(child.pid, flush=True); time.sleep(60)\n"
        )
        started = time.monotonic()
        ending = run(code, tmp_path, timeout_s=1.5, lines=lines)
        assert ending.timed_out
        assert time.monotonic() - started < 10
        assert gone(int(lines[0]))
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_child_that_closes_its_output_and_lingers_is_timed_out(tmp_path: Path) -> None:
    ending = run("import os, time; os.close(1); time.sleep(60)", tmp_path, timeout_s=1.0)
    assert ending.timed_out


def test_an_exception_of_the_listener_kills_the_child(tmp_path: Path) -> None:
    pids: list[int] = []

    def listener(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child(
            [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"],
            folder=tmp_path,
            environment=dict(os.environ),
            timeout_s=20.0,
            on_line=listener,
        )
    assert gone(pids[0])
