"""One writer at a time: the lock of a bundle's directory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftsf_export.bundle.folder import Folder
from ftsf_export.directory_lock import try_lock
from ftsf_export.errors import BundleError

_POLL_S = 0.05


@contextmanager
def locked(path: Path, wait_s: float = 0.0) -> Iterator[Folder]:
    """Holds the directory's lock and gives the directory that is locked.

    Raises BundleError when another command holds it longer than ``wait_s``.
    """
    deadline = time.monotonic() + wait_s
    while True:
        lock = try_lock(path)
        if lock is not None and lock.is_at(path):
            break
        if lock is not None:
            lock.release()
        elif time.monotonic() >= deadline:
            raise BundleError(f"{path}: another command is writing to this bundle; run this one again when it is done")
        else:
            time.sleep(_POLL_S)
    try:
        yield Folder(lock.descriptor, path)
    finally:
        lock.release()
