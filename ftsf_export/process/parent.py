"""The parent's side: start a child, call it, and leave nothing of it behind.

The child leads a process group of its own, so Ctrl-C reaches the parent alone, which then ends the whole group: at a
time limit, on any exception, and when it is done. A group is killed only before its leader has been waited for, so its
number cannot belong to anybody else by then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ftsf_export.errors import FtsfError
from ftsf_export.process import carried
from ftsf_export.process.channel import CALL, ERROR, NOTE, Message, receive, send, skip_to_start
from ftsf_export.process.quota import Quota, watched

if TYPE_CHECKING:
    import numpy as np

_START = "import sys; sys.path[:] = sys.argv[2:]; from ftsf_export.process.child import main; main(sys.argv[1])"
_LOG_BYTES = 8192
# How long a child that has closed its pipe may take to end by itself, so that its true end can be told.
_LAST_BREATH_S = 5.0
_HAS_GROUPS = hasattr(os, "waitid")


@dataclass(frozen=True)
class Ending:
    """Why a child gave no answer."""

    how: str  #: What happened, to follow the child's name: "failed", "died (SIGABRT)", "died (exit status 1)".
    said: str  #: Its last words, on one line.
    details: str  #: The traceback where there is one, and the end of what it printed.
    timed_out: bool = False  #: Whether it was killed at the time limit.
    over_quota: bool = False  #: Whether it was killed since it took more than its quota.


class Child:
    """A process that serves ``target``: see ``process.child``. A context manager; ``close`` ends it.

    Args:
        target: "module:function" or "module:Class", found on our own ``sys.path``.
        failed: makes our error from an ending: the child died or ran out of time, or raised what is none of ours.
        on_note: takes each remark that the child sends while it works.
        folder: where the child runs, and leaves a core file; None: here.
    """

    def __init__(
        self,
        target: str,
        *,
        failed: Callable[[Ending], FtsfError],
        on_note: Callable[[Any], object] = lambda _: None,
        folder: Path | None = None,
    ) -> None:
        self._failed = failed
        self._on_note = on_note
        self._started = False
        self._ending: Ending | None = None
        self._timed_out = False
        self._exceeded = ""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, target, *(str(Path(part).resolve()) for part in sys.path)],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=_HAS_GROUPS,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._calls, self._answers = self._process.stdin, self._process.stdout
        self._watch = threading.Thread(target=self._end_with_leader, daemon=True)
        self._watch.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def call(
        self,
        value: Any = None,
        arrays: Mapping[str, np.ndarray[Any, Any]] | None = None,
        *,
        timeout_s: float | None = None,
        quota: Quota | None = None,
    ) -> Message:
        """The handler's answer to one request. After an error that the handler raised the child may be called again.

        A child that is not done after ``timeout_s`` by the clock, or takes more than ``quota``, is killed.

        Raises the FtsfError that the handler raised, with the child's log in its details, or what ``failed`` makes;
        any exception on this side, Ctrl-C too, ends the child.
        """
        if self._ending is not None:
            raise self._failed(self._ending)
        limit = None if timeout_s is None else threading.Timer(timeout_s, self._time_out)
        try:
            if limit is not None:
                limit.start()
            with watched(self.pid, quota, self._over_quota):
                frame = self._exchanged(Message(value, arrays or {}))
        except BaseException:
            self.close()
            raise
        finally:
            if limit is not None:
                limit.cancel()
                limit.join()
        if frame is None:
            raise self._lost(timeout_s)
        kind, message = frame
        if kind == ERROR:
            raise self._raised(message.value)
        return message

    def kill(self) -> None:
        """End the child from another thread than the one that calls it, whose call then fails; it closes it."""
        self._kill()

    def close(self) -> None:
        """End the child and all that it started. Nothing is lost: its answers are all that it makes."""
        self._kill()
        self._watch.join()
        self._process.wait()
        for pipe in (self._calls, self._answers):
            # What was still to be flushed has no reader any more.
            with suppress(BrokenPipeError):
                pipe.close()
        self._log.close()

    def _exchanged(self, request: Message) -> tuple[str, Message] | None:
        """The frame that answers ``request``; None when the child is gone."""
        try:
            if not self._started:
                skip_to_start(self._answers)
                self._started = True
            send(self._calls, CALL, request)
        except (OSError, EOFError):
            return None
        while (frame := self._received()) is not None and frame[0] == NOTE:
            self._on_note(frame[1].value)
        return frame

    def _received(self) -> tuple[str, Message] | None:
        try:
            return receive(self._answers)
        except (OSError, EOFError):
            return None

    def _raised(self, told: dict[str, Any]) -> FtsfError:
        error = carried.error_from_json(told)
        if error is None:
            return self._failed(Ending("failed", told["said"], _joined(told["traceback"], self._log_tail())))
        error.details = _joined(error.details, self._log_tail())
        return error

    def _lost(self, timeout_s: float | None) -> FtsfError:
        self._watch.join(_LAST_BREATH_S)
        lingers = self._watch.is_alive()
        self._kill()
        self._watch.join()
        code, log = self._process.wait(), self._log_tail()
        self.close()
        if self._exceeded:
            how = f"was killed at its limit of {self._exceeded}"
        elif self._timed_out:
            how = f"was not done after {timeout_s:g} s and was killed"
        else:
            how = "closed its pipe and was killed" if lingers else f"died ({_name_of(code)})"
        said = (log.splitlines() or ["it said nothing"])[-1]
        self._ending = Ending(how, said, log, timed_out=self._timed_out, over_quota=bool(self._exceeded))
        return self._failed(self._ending)

    def _end_with_leader(self) -> None:
        """What the child had started ends with it: else a process that holds its pipe would keep us waiting."""
        if _HAS_GROUPS:
            # Not waited for yet: until then its number is its own.
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            self._kill()
        else:
            self._process.wait()

    def _time_out(self) -> None:
        self._timed_out = True
        self._kill()

    def _over_quota(self, limit: str) -> None:
        self._exceeded = limit
        self._kill()

    def _kill(self) -> None:
        if not _HAS_GROUPS:
            self._process.kill()
        elif self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _log_tail(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_BYTES))
        return self._log.read().decode(errors="replace").strip()


def run_in_child(
    target: str,
    value: Any = None,
    arrays: Mapping[str, np.ndarray[Any, Any]] | None = None,
    *,
    failed: Callable[[Ending], FtsfError],
    on_note: Callable[[Any], object] = lambda _: None,
    timeout_s: float | None = None,
    quota: Quota | None = None,
    folder: Path | None = None,
) -> Message:
    """One request in a child of its own: see ``Child`` and ``Child.call``."""
    with Child(target, failed=failed, on_note=on_note, folder=folder) as child:
        return child.call(value, arrays, timeout_s=timeout_s, quota=quota)


def _joined(*parts: str) -> str:
    return "\n".join(filter(None, parts))


def _name_of(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
