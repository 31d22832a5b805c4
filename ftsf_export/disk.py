"""What the disk refuses, in words; and folders for work that is thrown away."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ftsf_export.directory_lock import DirectoryLock, try_lock
from ftsf_export.errors import OutputError

REASONS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than the process (ulimit -f) or the file system allows",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "writing there is not allowed",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.ENAMETOOLONG: "the name is too long for the file system",
    errno.EBUSY: "it is in use as a mount point",
    errno.ENOTEMPTY: "something was put there meanwhile",
    errno.EEXIST: "something was put there meanwhile",
}
# Raised without a file's name by write(2) and by libraries.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SCRATCH = re.compile(r"ftsf-[a-z-]+-scratch-[a-z0-9_]{8}")
_MEND = "choose another place with -o, or free this one"
_SCRATCH_MEND = "free some, or name another place for temporary files: TMPDIR=/path ftsf ..."


@contextmanager
def disk_refusals_translated(doing: str, where: Path, mend: str = _MEND) -> Iterator[None]:
    """OSError -> OutputError that says what was being done, where, why not, and how to mend it."""
    try:
        yield
    except OSError as error:
        raise output_error(error, doing, where, mend) from error


def output_error(error: OSError, doing: str, where: Path, mend: str = _MEND) -> OutputError:
    reason = REASONS.get(error.errno or 0, str(error.strerror or error))
    return OutputError(f"{where}: cannot {doing}: {reason}; {mend}", details=str(error))


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A folder of our own (mode 0700) for temporary files, gone afterwards.

    ``prefix`` starts with "ftsf-" and ends with "-". The folder is locked for as long as we live: one that a killed
    process left is removed by ``remove_abandoned``. Raises OutputError that names the place of temporary files when no
    folder can be made there. What is written into it belongs in ``scratch_refusals_translated``, so that a full disk
    there is not taken for a full output.
    """
    with scratch_refusals_translated():
        folder, lock = _locked_folder(prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def is_scratch(path: Path) -> bool:
    """Whether ``path`` is named as ``scratch_folder`` names its folders."""
    return _SCRATCH.fullmatch(path.name) is not None


def remove_abandoned(folders: Iterable[Path] | None = None) -> None:
    """Remove the folders (None: all scratch folders among the temporary files) whose process is gone.

    Only folders of this user that nobody else may enter, and that no living process holds locked. What cannot be
    removed stays: this never fails.
    """
    with suppress(OSError):
        for folder in [path for path in _scratch_place().iterdir() if is_scratch(path)] if folders is None else folders:
            with suppress(OSError):
                _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return
    lock = try_lock(folder)
    if lock is None:
        return
    # A lock that keeps nobody out proves nothing about the owner: then the folder stays.
    if lock.exclusive and lock.is_at(folder):
        shutil.rmtree(folder, ignore_errors=True)
    lock.release()


def _locked_folder(prefix: str) -> tuple[Path, DirectoryLock]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}scratch-"))
        # One that removes abandoned folders may come between: then the folder is held by it, and gone in a moment.
        with suppress(FileNotFoundError):
            lock = try_lock(folder)
            if lock is not None and lock.is_at(folder):
                return folder, lock
            if lock is not None:
                lock.release()


@contextmanager
def scratch_refusals_translated(place: Path | None = None) -> Iterator[None]:
    """A refusal of the disk that holds temporary files -> OutputError that names it, or ``place``."""
    try:
        yield
    except OSError as error:
        raise output_error(error, "write temporary files", place or _scratch_place(), _SCRATCH_MEND) from error


@contextmanager
def refusals_translated_at(path: Path, doing: str) -> Iterator[None]:
    """A refusal of the disk at ``path`` -> OutputError: of temporary files where it lies among them, else of the place
    that the user gave."""
    # The name of their place is not asked of tempfile: from a full one it goes on to another.
    scratch = next((one.parent for one in (path, *path.parents) if is_scratch(one)), None)
    with disk_refusals_translated(doing, path) if scratch is None else scratch_refusals_translated(scratch):
        yield


def _scratch_place() -> Path:
    """Where temporary files go; the usual place where tempfile found none that can be written."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path("/tmp")
