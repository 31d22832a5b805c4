"""A command under supervision: it works in a child, and this process answers signals and tells how the work ended.

Libraries in the midst of native code answer no signal, make an error of their own of a KeyboardInterrupt, or abort. So
the program forks before it loads any of them. At Ctrl-C or SIGTERM the child is silenced and told to stop, which
removes what it had begun; after a moment it is killed, and the folders that it held locked are removed here. A child
that dies by itself (the system kills for want of memory, a library aborts) ends with one line too.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import click

from ftsf_export.cli.entry import EXIT_INTERRUPTED, EXIT_TERMINATED
from ftsf_export.cli.terminal import Terminal
from ftsf_export.disk import is_scratch, remove_abandoned
from ftsf_export.errors import OutOfMemory, StageError
from ftsf_export.memory import lacking_memory, out_of_memory

ENDINGS = {
    EXIT_INTERRUPTED: "interrupted; nothing half-written was left behind",
    EXIT_TERMINATED: "terminated; nothing half-written was left behind",
}
# With the removal of what a killed child held, the whole is to take less than two seconds.
_STOPS_WITHIN_S = 1.2
_POLL_S = 0.02
# The child's to us, and no exit code of the program.
_NO_MEMORY = 12
_PR_SET_PDEATHSIG = 1
_CLEAR_LINE = "\r\x1b[2K\x1b[?25h"


def supervised(work: Callable[[], int], terminal: Terminal) -> int:
    """The exit code of ``work``, which runs in a child (on Linux; elsewhere here), or of the signal that ended it."""
    if not sys.platform.startswith("linux"):
        _as_python_does()
        try:
            return work()
        except OutOfMemory as error:
            return _told(terminal, error.exit_code, error.message)
    remove_abandoned()
    sys.stdout.flush()
    sys.stderr.flush()
    # What was ignored when we started (nohup, a job in the background of a script) stays ignored.
    stops = {s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN}
    waited = {*stops, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    parent = os.getpid()
    returned = mmap.mmap(-1, 1)
    child = os.fork()
    if child == 0:
        _become_child(parent, stops)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return _worked(work, returned)
    stopped_by, code = _watch(child, waited)
    if not stopped_by and code >= 0 and not returned[0]:
        remove_abandoned()
        return _told(terminal, StageError.exit_code, _left(code))
    return _ending_told(terminal, stopped_by, code)


def _worked(work: Callable[[], int], returned: mmap.mmap) -> int:
    """The exit code of ``work``, in the child, which says through ``returned`` that it came so far: OpenBLAS, for one,
    ends the process where it gets no memory.

    Where memory ran out this ends the child at once: to say so would take some, and libraries that were loaded by half
    are noisy when Python ends."""
    try:
        return work()
    except Exception as error:
        if out_of_memory(error) is None:
            raise
        returned[0] = 1
        os._exit(_NO_MEMORY)
    finally:
        returned[0] = 1


def _as_python_does() -> None:
    """Take back what ``cli.entry`` set: from here on an interruption has something to clean up."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, usual)


def _become_child(parent: int, stops: set[signal.Signals]) -> None:
    """However the parent dies, this process dies with it; Ctrl-C is the parent's to answer."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(EXIT_TERMINATED)
    if signal.SIGINT in stops:
        # A handler, not SIG_IGN: programs that are started here would inherit that.
        signal.signal(signal.SIGINT, _nothing)
    signal.signal(signal.SIGTERM, _stop)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Once: what is cleaned up after the exception is not to be interrupted again, and nobody wants to read it."""
    signal.signal(signal.SIGTERM, _nothing)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    raise KeyboardInterrupt


def _watch(child: int, waited: set[signal.Signals]) -> tuple[int, int]:
    """The signal that asked us to stop (0: none), and the child's exit code (negative: the signal that killed it)."""
    while True:
        received = signal.sigwait(waited)
        if received != signal.SIGCHLD:
            return received, _ended(child)
        code = _code(child)
        if code is not None:
            return 0, code


def _ended(child: int) -> int:
    """End the child, and remove what it could not."""
    deadline = time.monotonic() + _STOPS_WITHIN_S
    os.kill(child, signal.SIGTERM)
    while time.monotonic() < deadline:
        if (code := _code(child)) is not None:
            return code
        time.sleep(_POLL_S)
    held = _held_folders(child)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    remove_abandoned(held)
    return -signal.SIGKILL


def _code(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def _held_folders(child: int) -> list[Path]:
    """Scratch folders and the unfinished bundle of the child: it holds each open, for its lock."""
    from ftsf_export.bundle.place import is_staging

    held = []
    for entry in Path(f"/proc/{child}/fd").iterdir():
        with suppress(OSError):
            path = entry.readlink()
            if is_scratch(path) or is_staging(path, child):
                held.append(path)
    return held


def _ending_told(terminal: Terminal, stopped_by: int, code: int) -> int:
    """Says how the child ended where it could not; the exit code of this process."""
    if not stopped_by and 0 <= code != _NO_MEMORY and code not in ENDINGS:
        return code
    if stopped_by or code in (EXIT_TERMINATED, EXIT_INTERRUPTED, -signal.SIGTERM):
        exit_code = EXIT_INTERRUPTED if stopped_by == signal.SIGINT else EXIT_TERMINATED
        return _told(terminal, exit_code, ENDINGS[exit_code])
    remove_abandoned()
    return _told(terminal, StageError.exit_code, lacking_memory() if code == _NO_MEMORY else _death(-code))


def _told(terminal: Terminal, exit_code: int, message: str) -> int:
    if sys.stderr.isatty():
        # A progress bar that could not end itself hides the cursor.
        click.echo(_CLEAR_LINE, nl=False, err=True)
    with suppress(BrokenPipeError):
        terminal.error(message)
        terminal.close(exit_code, message.split(";")[0])
    return exit_code


def _left(code: int) -> str:
    return f"a library ended the work (exit status {code}); see what it printed above"


def _death(number: int) -> str:
    name = signal.Signals(number).name
    if number == signal.SIGKILL:
        return (
            f"the work was killed ({name}), most likely by the system for want of memory; free some, or take a smaller "
            "model, fewer frames or a smaller batch"
        )
    return f"a library died ({name}) and took the work with it; see what it printed above"
