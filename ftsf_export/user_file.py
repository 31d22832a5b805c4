"""The one opener of files that a user names: checkpoints, their settings, videos, timing caches, records.

A file is opened once, and what it is and how long it is are asked of the open file. So a pipe without a writer holds
nobody up, ``/dev/zero`` is not read to its end, and nothing is another file by the time it is read. Links are followed:
where they lead is the user's to say (the hub's cache is full of them). For files of a bundle see ``bundle.folder``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from ftsf_export.errors import FtsfError, UsageError

_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def regular_file(
    path: Path, *, expected: str, most: int | None, refusal: type[FtsfError] = UsageError, about: str = ""
) -> Iterator[FileIO]:
    """The file at ``path``, open for reading, without a buffer.

    Args:
        path: as the user gave it.
        expected: what it is to be, for messages ("a video file").
        most: how many bytes are read at most; None where no reader takes the file as a whole.
        refusal: the error that says what is wrong: it is missing, cannot be read, is no regular file, or is too long.
        about: what the message begins with ("checkpoint: ").
    """
    where = f"{about}{path}"
    try:
        descriptor = os.open(path, _FLAGS | _BINARY)
    except FileNotFoundError as error:
        raise refusal(f"{where}: expected {expected}, found nothing there") from error
    except (OSError, ValueError) as error:
        # A socket cannot be opened at all, a name with a zero byte not even asked for.
        said = f"expected {expected}, got {found}" if (found := _kind_of(path)) else f"cannot be read: {_reason(error)}"
        raise refusal(f"{where}: {said}") from error
    status = os.fstat(descriptor)
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = f"expected {expected}, got {_KINDS.get(stat.S_IFMT(status.st_mode), 'no regular file')}"
    elif most is not None and status.st_size > most:
        problem = f"at most {most} bytes are read, the file has {status.st_size}"
    if problem:
        # Before FileIO, which takes no directory and would leave it open.
        os.close(descriptor)
        raise refusal(f"{where}: {problem}")
    with FileIO(descriptor) as file:
        yield file


def content_of(
    path: Path, *, expected: str, most: int, refusal: type[FtsfError] = UsageError, about: str = ""
) -> bytes:
    """The whole file, at most ``most`` bytes also where it grows meanwhile. Raises ``refusal`` as ``regular_file``."""
    with regular_file(path, expected=expected, most=most, refusal=refusal, about=about) as file:
        content = bytearray()
        try:
            while len(content) < most and (part := file.read(min(most - len(content), 1 << 20))):
                content += part
        except OSError as error:
            raise refusal(f"{about}{path}: cannot be read: {_reason(error)}") from error
    return bytes(content)


def path_of(file: FileIO, path: Path) -> str:
    """A path for a library that opens one by itself: of the open file, where the system has such paths, else ``path``.

    It leads to the same file, whatever ``path`` leads to by then.
    """
    own = f"/proc/self/fd/{file.fileno()}"
    return own if os.path.exists(own) else str(path)


def _kind_of(path: Path) -> str:
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "")
    except (OSError, ValueError):
        return ""


def _reason(error: OSError | ValueError) -> str:
    return str(getattr(error, "strerror", None) or error)
