"""An advisory lock on a directory, given back by the kernel when its holder dies."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DirectoryLock:
    """The lock of one directory."""

    descriptor: int  #: Of the open directory; the lock lasts until it is closed.
    exclusive: bool  #: Whether others are kept out; False where the file system (or Windows) knows no such lock.

    def release(self) -> None:
        os.close(self.descriptor)

    def is_at(self, path: Path) -> bool:
        """True while ``path`` is the directory that was locked: a bundle may be exchanged while one waits."""
        if not self.exclusive:
            return True
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.stat(path))
        except FileNotFoundError:
            return False


def try_lock(path: Path) -> DirectoryLock | None:
    """The lock of the directory ``path``, or None when another holds it. Raises OSError when it cannot be opened.

    The directory itself is locked, so that no lock file stays behind in a bundle.
    """
    if sys.platform == "win32":
        return DirectoryLock(os.open(os.devnull, os.O_RDONLY), exclusive=False)
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            os.close(descriptor)
            return None
        return DirectoryLock(descriptor, exclusive=False)
    return DirectoryLock(descriptor, exclusive=True)
