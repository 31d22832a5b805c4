"""Where a bundle is written: whether the place may be taken, and taking it in one step."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import secrets
import shutil
import sys
from pathlib import Path

from ftsf_export.bundle.files import disk_refusals_translated
from ftsf_export.bundle.lock import locked, still_at, try_lock
from ftsf_export.bundle.manifest import ENGINES_FOLDER, GOLDEN_NAME, MANIFEST_NAME, ONNX_NAME
from ftsf_export.bundle.update import PENDING_FOLDER
from ftsf_export.errors import OutputError

_WRITER_WAITS_S = 30.0
_OURS = {MANIFEST_NAME, ONNX_NAME, f"{ONNX_NAME}.data", GOLDEN_NAME, "report.json", "report.md", "report.html"}
_OUR_FOLDERS = (ENGINES_FOLDER, PENDING_FOLDER)
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def check_free(output: Path, overwrite: bool) -> None:
    """Raises OutputError unless ``output`` is free, empty, or an old bundle that may be overwritten.

    A directory with a file that is not a bundle's is never overwritten: nobody's files are deleted.
    """
    if not os.path.lexists(output):
        return
    if not output.is_dir():
        raise OutputError(f"{output}: exists and is not a directory; choose another with -o")
    with disk_refusals_translated("look into the directory", output):
        if not any(output.iterdir()):
            return
        if not (output / MANIFEST_NAME).is_file():
            raise OutputError(f"{output}: exists, is not empty and is not a bundle; choose another directory with -o")
        if not overwrite:
            raise OutputError(f"{output}: a bundle is there already; give --overwrite, or another directory with -o")
        if foreign := _foreign_file(output):
            raise OutputError(
                f"{output}: holds {foreign!r}, which is no part of the bundle and would be lost; "
                "move it away, or choose another directory with -o"
            )


def make_staging(output: Path) -> tuple[Path, int]:
    """A new hidden directory beside ``output`` and the descriptor that locks it for as long as we live."""
    while True:
        staging = output.with_name(f".{output.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
        staging.mkdir()
        descriptor = try_lock(staging)
        # A cleaner of leftovers may have come between the two lines above: then the directory is gone.
        if descriptor is not None and still_at(staging, descriptor):
            return staging, descriptor
        if descriptor is not None:
            os.close(descriptor)


def clear_leftovers(output: Path) -> None:
    """Removes what dead processes left beside ``output``; puts back an old bundle that was moved aside."""
    for path in sorted(output.parent.glob(f".{_glob_escaped(output.name)}.*-*-*")):
        kind = path.name[len(output.name) + 2 :].split("-")[0]
        if kind not in ("partial", "replaced") or not path.is_dir() or path.is_symlink():
            continue
        descriptor = try_lock(path)
        if descriptor is None:
            continue
        if kind == "replaced" and not output.exists():
            os.rename(path, output)
        else:
            shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def take_place(staging: Path, output: Path, overwrite: bool) -> None:
    """``staging`` becomes ``output`` in one step; an old bundle there is removed. Raises OSError, OutputError."""
    check_free(output, overwrite)
    if not (output.is_dir() and any(output.iterdir())):
        os.rename(staging, output)
        return
    # The lock keeps a command that records into the old bundle from writing into the new one by its path.
    with locked(output, wait_s=_WRITER_WAITS_S):
        check_free(output, overwrite)
        if _exchange(staging, output):
            old = staging
        else:
            old = output.with_name(staging.name.replace(".partial-", ".replaced-"))
            os.rename(output, old)
            os.rename(staging, output)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two directories atomically; False where the system cannot."""
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


def _foreign_file(output: Path) -> str:
    """A file below ``output`` that no manifest of ours put there, or ""."""
    try:
        listed = set(json.loads((output / MANIFEST_NAME).read_text(encoding="utf-8"))["files"])
    except (ValueError, TypeError, KeyError):
        listed = set()
    for folder, _, leaves in os.walk(output):
        for leaf in leaves:
            name = Path(folder, leaf).relative_to(output).as_posix()
            if name not in _OURS and name not in listed and name.split("/")[0] not in _OUR_FOLDERS:
                return name
    return ""


def _glob_escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
