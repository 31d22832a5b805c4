"""Files of a bundle: their hashes, their names, and the disk's refusals in words."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftsf_export.bundle.manifest import FileEntry
from ftsf_export.errors import BundleError, OutputError

_CHUNK_BYTES = 1 << 20
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_REASONS = {
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
_MEND = "choose another place with -o, or free this one"


@contextmanager
def disk_refusals_translated(doing: str, where: Path, mend: str = _MEND) -> Iterator[None]:
    """OSError -> OutputError that says what was being done, where, why not, and how to mend it."""
    try:
        yield
    except OSError as error:
        raise output_error(error, doing, where, mend) from error


def output_error(error: OSError, doing: str, where: Path, mend: str = _MEND) -> OutputError:
    reason = _REASONS.get(error.errno or 0, str(error.strerror or error))
    return OutputError(f"{where}: cannot {doing}: {reason}; {mend}", details=str(error))


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal; read in pieces, so that a file may be larger than the memory."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def entry_of(path: Path) -> FileEntry:
    return FileEntry(sha256_of(path), path.stat().st_size)


def name_problem(name: str) -> str:
    """Why ``name`` is no path of a file in a bundle, or "". Names are POSIX, relative, and stay inside."""
    if not name:
        return "an empty name"
    if _CONTROL.search(name):
        return "a control character"
    if "\\" in name:
        return "a backslash; names in a bundle use forward slashes"
    if name.startswith("/") or _DRIVE.match(name):
        return "an absolute path; names in a bundle are relative"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "an empty part, '.' or '..'; names in a bundle never leave it"
    return ""


def member(root: Path, name: str) -> Path:
    """The regular file ``name`` in the bundle ``root``.

    Raises BundleError when the name or a symbolic link leads out of the bundle, and when the file is missing
    or is not a regular file.
    """
    if problem := name_problem(name):
        raise BundleError(f"{root}: the manifest names {name!r}, which holds {problem}; do not trust this bundle")
    path = root / name
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except (OSError, RuntimeError) as error:
        raise BundleError(
            f"{path}: missing, though the manifest lists it; copy the whole bundle again, or write it again"
        ) from error
    if not real.is_relative_to(root.resolve()):
        raise BundleError(f"{path}: a symbolic link that leads out of the bundle; put the file itself there")
    if not stat.S_ISREG(mode):
        raise BundleError(f"{path}: expected a regular file; write the bundle again")
    return path


def files_under(root: Path) -> list[str]:
    """Names of all files below ``root``, sorted. Raises ValueError for a link, a socket and the like."""
    names = []
    for folder, folders, files in os.walk(root):
        for leaf in [*files, *folders]:
            path = Path(folder, leaf)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ValueError(f"{path}: a bundle holds regular files only")
            if stat.S_ISREG(mode):
                names.append(path.relative_to(root).as_posix())
    return sorted(names)


def flush(path: Path) -> None:
    """A file or directory, down to the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems, and Windows, know no fsync of a read-only descriptor.
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def flush_folders(root: Path) -> None:
    """``root`` and the directories below it, down to the disk."""
    for folder, _, _ in os.walk(root):
        flush(Path(folder))


def write_flushed(path: Path, data: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
