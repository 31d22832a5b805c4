"""The most memory that this process has held."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_rss_bytes(status: Path = _STATUS) -> int | None:
    """Peak resident set of this process since it started, in bytes; None on Windows.

    Linux's VmHWM, not getrusage: ``ru_maxrss`` survives exec, so a child would report the peak of its parent.
    """
    if status.exists() and (found := re.search(r"^VmHWM:\s+(\d+)", status.read_text(encoding="utf-8"), re.MULTILINE)):
        return int(found[1]) * 1024  # proc_pid_status(5): kibibytes, written "kB"
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # getrusage(2): kibibytes on Linux, bytes on macOS.
    return peak if sys.platform == "darwin" else peak * 1024
