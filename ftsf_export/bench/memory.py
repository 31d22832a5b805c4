"""The most memory that this process has held."""

from __future__ import annotations

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_rss_bytes(status: Path = _STATUS) -> int | None:
    """Peak resident set of this process since it started, in bytes; None on Windows.

    Linux's VmHWM, not getrusage: ``ru_maxrss`` survives exec, so a child would report the peak of its parent.
    """
    try:
        lines = status.read_text(encoding="utf-8").splitlines()
    except OSError:
        return _peak_from_getrusage()
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024  # proc_pid_status(5): kibibytes, written "kB"
    return _peak_from_getrusage()


def _peak_from_getrusage() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # getrusage(2): kibibytes on Linux, bytes on macOS.
    return peak if sys.platform == "darwin" else peak * 1024
