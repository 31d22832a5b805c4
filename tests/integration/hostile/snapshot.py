"""What lies in a file system: everything below a folder, so that what was written is seen."""

from __future__ import annotations

import os
from pathlib import Path

Snapshot = dict[str, tuple[int, ...]]


def snapshot(root: Path) -> Snapshot:
    """Mode, size, inode and time of change of each thing below ``root``; nobody can set the last.

    Of a folder neither size nor time: they say only that something in it came or went, which is seen anyway.
    """
    found: Snapshot = {}
    folders = [str(root)]
    while folders:
        folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                state = entry.stat(follow_symlinks=False)
                name = os.path.relpath(entry.path, root)
                if entry.is_dir(follow_symlinks=False):
                    found[name] = (state.st_mode, state.st_ino)
                    folders.append(entry.path)
                else:
                    found[name] = (state.st_mode, state.st_ino, state.st_size, state.st_ctime_ns)
    return found


def changes(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """Names that came, went or were changed."""
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))
