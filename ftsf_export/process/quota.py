"""What a child may take at most: processor time and memory. A watch of the parent ends one that takes more.

Processor time, and not time by the clock: a machine that is busy with other work, or was asleep, makes no graph slower.
The kernel's own limits will not do: RLIMIT_CPU counts from the start of the process, with the time in which it loads
its libraries, and RLIMIT_AS counts what is only reserved, of which a GPU's driver reserves terabytes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# For the end of a message that says which limit it was.
OVER_QUOTA = "many times what a model of this size takes; if you trust it, give --no-limits"
_EVERY_S = 0.02


@dataclass(frozen=True)
class Quota:
    """The most that one call of a child may take. Enforced on Linux, which tells it in ``/proc``."""

    processor_s: float  #: Seconds of all its processors together, from the beginning of the call.
    memory_bytes: int  #: RAM of the process, with what it held before the call.

    def exceeded(self, processor_s: float, memory_bytes: int) -> str:
        """Which limit these are above, in words; "" for none."""
        if memory_bytes > self.memory_bytes:
            return f"{self.memory_bytes >> 20} MiB of memory"
        return f"{self.processor_s:.3g} s of processor time" if processor_s > self.processor_s else ""


@contextmanager
def watched(pid: int, quota: Quota | None, on_exceeded: Callable[[str], object]) -> Iterator[None]:
    """Watches the process ``pid``, which nobody has waited for yet, while it lasts.

    ``on_exceeded`` is told the limit, once, from a thread of the watch. Without a quota nothing is watched.
    """
    start = None if quota is None else usage(pid)
    if quota is None or start is None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY_S):
            now = usage(pid)
            if now is None:
                return
            if limit := quota.exceeded(now[0] - start[0], now[1]):
                on_exceeded(limit)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def usage(pid: int) -> tuple[float, int] | None:
    """Processor time in seconds and RAM in bytes of a process (proc(5), ``stat``); None where nobody tells."""
    try:
        # The name before the last bracket may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
        return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
