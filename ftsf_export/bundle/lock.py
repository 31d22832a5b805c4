"""One writer at a time: an advisory lock on a directory, given back by the kernel when its holder dies."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftsf_export.errors import BundleError

_POLL_S = 0.05


def try_lock(path: Path) -> int | None:
    """Locks the directory ``path``; gives the descriptor that holds the lock, or None when another holds it.

    The directory itself is locked, so that no lock file stays behind in a bundle. Where the file system (or
    Windows) knows no such lock, every caller gets one. Raises OSError when the directory cannot be opened.
    """
    if sys.platform == "win32":
        return os.open(os.devnull, os.O_RDONLY)
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            os.close(descriptor)
            return None
    return descriptor


def still_at(path: Path, descriptor: int) -> bool:
    """True when ``path`` is yet the directory that was locked: a bundle may be exchanged while one waits."""
    if sys.platform == "win32":
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@contextmanager
def locked(path: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Holds the directory's lock. Raises BundleError when another command holds it longer than ``wait_s``."""
    deadline = time.monotonic() + wait_s
    while True:
        descriptor = try_lock(path)
        if descriptor is not None and still_at(path, descriptor):
            break
        if descriptor is not None:
            os.close(descriptor)
        elif time.monotonic() >= deadline:
            raise BundleError(
                f"{path}: another command is writing to this bundle; run this one again when it has ended"
            )
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        os.close(descriptor)
