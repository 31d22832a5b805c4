"""However a child ends, its parent says how; however a parent ends, nothing of the child is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ftsf_export.errors import BuildError, RunError
from ftsf_export.process.parent import Child, Ending, run_in_child

Gone = Callable[[int], bool]
ROOT = Path(__file__).parents[3]


def failed(ending: Ending) -> BuildError:
    return BuildError(f"it {ending.how}: {ending.said}", details=ending.details)


@pytest.mark.parametrize(
    ("end", "how"), [("SIGABRT", r"SIGABRT"), ("SIGSEGV", "SIGSEGV"), (9, "exit status 9"), (0, "exit status 0")]
)
def test_a_child_that_dies_is_told_with_its_last_words(end: str | int, how: str) -> None:
    with pytest.raises(BuildError, match=rf"^it died \({how}\): terminate called$") as caught:
        run_in_child("served:end", end, failed=failed)
    assert "terminate called" in caught.value.details


def test_a_child_that_died_stays_dead() -> None:
    with Child("served:end", failed=failed) as child:
        for _ in range(2):
            with pytest.raises(BuildError, match="exit status 4"):
                child.call(4)


def test_a_child_that_dies_within_a_frame_while_another_holds_its_pipe() -> None:
    started = time.monotonic()
    with pytest.raises(BuildError, match=r"died \(exit status 3\): it said nothing"):
        run_in_child("served:half_a_frame", failed=failed)
    assert time.monotonic() - started < 30


def test_a_child_that_closes_its_pipe_and_lingers_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftsf_export.process.parent._LAST_BREATH_S", 0.2)
    with pytest.raises(BuildError, match="closed its pipe and was killed"):
        run_in_child("served:close_and_linger", failed=failed)


def test_the_time_limit_kills_the_child_and_its_children_and_nothing_else(gone: Gone) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pids: list[int] = []
    endings: list[Ending] = []

    def timed_out(ending: Ending) -> BuildError:
        endings.append(ending)
        return failed(ending)

    try:
        started = time.monotonic()
        with pytest.raises(BuildError, match=r"was not done after 3 s and was killed"):
            run_in_child("served:with_a_grandchild", failed=timed_out, on_note=pids.extend, timeout_s=3.0)
        assert time.monotonic() - started < 30
        assert endings[0].timed_out
        assert len(pids) == 2
        assert all(map(gone, pids))
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_the_time_limit_holds_while_a_request_is_being_written() -> None:
    with Child("served:echo", failed=failed) as child:
        child.call()
        os.kill(child.pid, signal.SIGSTOP)
        with pytest.raises(BuildError, match=r"was not done after 1 s"):
            child.call("x" * 1_000_000, timeout_s=1.0)


def test_a_call_in_time_does_not_end_the_child() -> None:
    with Child("served:echo", failed=failed) as child:
        child.call(timeout_s=30.0)
        time.sleep(0.1)
        assert child.call(2).value == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, EOFError])
def test_an_exception_of_the_listener_ends_the_child_and_travels_on(error: type[BaseException], gone: Gone) -> None:
    pids: list[int] = []

    def listener(note: list[int]) -> None:
        pids.extend(note)
        raise error

    child = Child("served:with_a_grandchild", failed=failed, on_note=listener)
    with pytest.raises(error):
        child.call()
    assert len(pids) == 2
    assert all(map(gone, pids))


def test_closing_ends_a_child_that_waits(gone: Gone) -> None:
    child = Child("served:echo", failed=failed)
    child.call()
    child.close()
    child.close()
    assert gone(child.pid)


PARENT = """
from ftsf_export.errors import RunError
from ftsf_export.process.parent import run_in_child
shown = lambda pids: print(*pids, flush=True)
run_in_child("served:with_a_grandchild", failed=lambda end: RunError(end.how), on_note=shown)
"""


@pytest.mark.parametrize("killed_by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_parent(killed_by: signal.Signals, gone: Gone) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    # Started in the background, this process may ignore Ctrl-C, and whom it starts would too.
    program = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{PARENT}"
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert os.getpgid(pids[0]) != os.getpgid(parent.pid)
        parent.send_signal(killed_by)
        parent.wait(timeout=30)
    assert all(map(gone, pids))


def test_an_error_of_ours_does_not_end_the_child() -> None:
    with Child("served:Counter", failed=failed) as child:
        first = child.call().value
        with pytest.raises(RunError, match="this call alone"):
            child.call("fail")
        assert child.call().value == [3, first[1]]
