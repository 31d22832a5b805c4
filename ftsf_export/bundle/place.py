"""Where a bundle is written: whether the place may be taken, and taking it in one step."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
from pathlib import Path

from ftsf_export.bundle.contents import manifest_bytes
from ftsf_export.bundle.files import is_usual
from ftsf_export.bundle.folder import Folder, opened
from ftsf_export.bundle.lock import locked
from ftsf_export.bundle.manifest import MANIFEST_NAME, PENDING_FOLDER
from ftsf_export.directory_lock import DirectoryLock, try_lock
from ftsf_export.disk import disk_refusals_translated
from ftsf_export.errors import BundleError, OutputError

_WRITER_WAITS_S = 30.0
_SHOWN_FILES = 5
_LEFTOVER = re.compile(r"(partial|replaced)-\d+-[0-9a-f]{8}")
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def check_free(output: Path, overwrite: bool) -> None:
    """Raises OutputError unless ``output`` is free, empty, or an old bundle that may be overwritten.

    A directory with a file that is not the bundle's is never overwritten: nobody's files are deleted.
    """
    try:
        str(output.absolute()).encode()
    except UnicodeEncodeError as error:
        # onnx and the compilers take paths in UTF-8 alone, and would say so at the end of an export.
        raise OutputError(f"{output}: the path is not UTF-8, which libraries need; choose another") from error
    if not os.path.lexists(output):
        _check_parent(output)
        return
    if not output.is_dir():
        raise OutputError(f"{output}: exists and is not a directory; choose another")
    if os.path.ismount(output):
        raise OutputError(f"{output}: a mount point cannot be replaced; give a directory inside it")
    with disk_refusals_translated("look into the directory", output):
        if not any(output.iterdir()):
            return
        if not (output / MANIFEST_NAME).is_file():
            raise OutputError(f"{output}: exists, is not empty and is not a bundle; choose another directory")
        if not overwrite:
            raise OutputError(f"{output}: a bundle is there already; give overwrite=True, or another directory")
        _check_ours(output, output)


def _check_parent(output: Path) -> None:
    """Raises OutputError unless the nearest directory above ``output`` is one, and may be written into.

    It spares a user the work of an export that could not be put anywhere; the writing itself is refused again.
    """
    above = next(parent for parent in output.absolute().parents if os.path.lexists(parent))
    if not above.is_dir():
        raise OutputError(f"{output}: {above} is a file, not a directory; choose another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"{output}: there is no permission to write into {above}; choose another place")


def make_staging(output: Path) -> tuple[Path, DirectoryLock]:
    """A new hidden directory beside ``output``, locked for as long as we live."""
    while True:
        staging = output.with_name(f".{output.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
        staging.mkdir()
        lock = try_lock(staging)
        # A cleaner of leftovers may have come between the two lines above: then the directory is gone.
        if lock is not None and lock.is_at(staging):
            return staging, lock
        if lock is not None:
            lock.release()


def is_staging(path: Path, process: int) -> bool:
    """Whether ``path`` is named as a staging directory of that process."""
    return re.fullmatch(rf"\..+\.partial-{process}-[0-9a-f]{{8}}", path.name) is not None


def clear_leftovers(output: Path) -> None:
    """Removes what dead processes left beside ``output``; puts back an old bundle that was moved aside."""
    prefix = f".{output.name}."
    for path in sorted(output.parent.iterdir()):
        if not (path.name.startswith(prefix) and _LEFTOVER.fullmatch(path.name[len(prefix) :])):
            continue
        if path.is_symlink() or not path.is_dir() or (lock := try_lock(path)) is None:
            continue
        # A lock that keeps nobody out proves nothing about the owner: then the leftover stays.
        if lock.exclusive:
            if path.name.startswith(f"{prefix}replaced") and not output.exists():
                os.rename(path, output)
            else:
                shutil.rmtree(path, ignore_errors=True)
        lock.release()


def moved_whole(staging: Path, top: Path) -> bool:
    """Renames ``staging`` to ``top``; False where another put something there meanwhile."""
    try:
        os.rename(staging, top)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def take_place(staging: Path, output: Path, overwrite: bool) -> None:
    """``staging`` becomes ``output`` in one step; an old bundle there is removed. Raises OSError and OutputError."""
    check_free(output, overwrite)
    if not (output.is_dir() and any(output.iterdir())):
        os.rename(staging, output)
        return
    # The lock keeps a command that records into the old bundle from writing into the new one by its path.
    with locked(output, wait_s=_WRITER_WAITS_S):
        check_free(output, overwrite)
        if _exchanged(staging, output):
            old = staging
            try:
                # Once more, where nobody finds it by its path: a file may have come between look and exchange.
                _check_ours(old, output)
            except OutputError:
                _exchanged(staging, output)
                raise
        else:
            old = output.with_name(staging.name.replace(".partial-", ".replaced-"))
            os.rename(output, old)
            os.rename(staging, output)
        shutil.rmtree(old, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Swaps two directories atomically (renameat2, Linux 3.15); False where the system or its files cannot."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    status = libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if status == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _check_ours(folder: Path, output: Path) -> None:
    """Raises OutputError naming the files below ``folder`` that no export of ours put there."""
    foreign = _foreign_files(folder)
    if not foreign:
        return
    shown = ", ".join(repr(name) for name in foreign[:_SHOWN_FILES])
    more = f" and {len(foreign) - _SHOWN_FILES} more" if len(foreign) > _SHOWN_FILES else ""
    raise OutputError(
        f"{output}: holds {shown}{more}, which is no part of the bundle and would be lost; "
        "move it away, or choose another directory"
    )


def _foreign_files(folder: Path) -> list[str]:
    """Files below ``folder`` that no export of ours put there: links, pipes and the like, and what is not listed.

    Where the manifest does not say what is ours, the names of our files do; so they do in ``.pending``, whose content
    the manifest may not list yet.
    """
    with opened(folder) as root:
        listed, found = _listed_files(root), list(root.walk())
    foreign = []
    for name, mode in found:
        inner = name.removeprefix(f"{PENDING_FOLDER}/")
        ours = is_usual(name) if listed is None else name == MANIFEST_NAME or name in listed
        if inner != name:
            ours = is_usual(inner) or inner in (listed or ())
        if not (ours and stat.S_ISREG(mode)):
            foreign.append(name)
    return foreign


def _listed_files(folder: Folder) -> frozenset[str] | None:
    """What the manifest of any of our versions lists; None when it is damaged or another program's."""
    try:
        manifest = json.loads(manifest_bytes(folder).decode("utf-8"))
        ours = isinstance(manifest["schema_version"], int) and manifest["created_by"].startswith("ftsf-export")
        return frozenset(manifest["files"]) if ours else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, BundleError):
        return None
