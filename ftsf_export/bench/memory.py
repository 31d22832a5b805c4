"""The most memory that this process has held."""

from __future__ import annotations

import sys


def peak_rss_bytes() -> int | None:
    """Peak resident set of this process since it started, in bytes; None on Windows, which has no getrusage."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # getrusage(2): kibibytes on Linux, bytes on macOS.
    return peak if sys.platform == "darwin" else peak * 1024
