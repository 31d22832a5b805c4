"""Files of a bundle: their names, and those of one that is being written: their hashes, and the way to the disk."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from io import FileIO
from pathlib import Path
from typing import IO

from ftsf_export.bundle.folder import flush_descriptor
from ftsf_export.bundle.manifest import ENGINES_FOLDER, GOLDEN_NAME, MANIFEST_NAME, ONNX_NAME, REPORT_NAMES, FileEntry

_CHUNK_BYTES = 1 << 20
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What every export may write, whatever its manifest says.
_USUAL = (MANIFEST_NAME, ONNX_NAME, f"{ONNX_NAME}.data", GOLDEN_NAME, *REPORT_NAMES)
_ENGINE = re.compile(rf"{ENGINES_FOLDER}/[^/]+\.(engine|json)")


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal; read in pieces, so that a file may be larger than the memory."""
    with open(path, "rb") as stream:
        return sha256_of_stream(stream)


def sha256_of_stream(stream: IO[bytes] | FileIO) -> str:
    """The same of an open file, from where it stands to its end."""
    digest = hashlib.sha256()
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


def is_usual(name: str) -> bool:
    """Whether our exports and builds write files of that name."""
    return name in _USUAL or _ENGINE.fullmatch(name) is not None


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
        flush_descriptor(descriptor)
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
