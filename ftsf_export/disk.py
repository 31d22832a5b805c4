"""What the disk refuses, in words; and folders for work that is thrown away."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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

    Raises OutputError that names the place of temporary files when no folder can be made there. What is written into it
    belongs in ``scratch_refusals_translated``, so that a full disk there is not taken for a full output.
    """
    with scratch_refusals_translated():
        folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_refusals_translated() -> Iterator[None]:
    """A refusal of the disk that holds temporary files -> OutputError that names it."""
    try:
        yield
    except OSError as error:
        raise output_error(error, "write temporary files", _scratch_place(), _SCRATCH_MEND) from error


def _scratch_place() -> Path:
    """Where temporary files go; the usual place where tempfile found none that can be written."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path("/tmp")
