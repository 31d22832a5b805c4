"""A video file, opened so that nothing but this one file is read.

FFmpeg opens what a file or its name says: a playlist, a list of files to join (``ffconcat``), a number pattern
(``img%03d.png``), an address (``concat:``, ``pipe:``, ``http:``). So it gets no name but an open regular file, it may
use the demuxers of real containers alone, and these may open nothing further. An endless source is no file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from ftsf_export.errors import VideoError
from ftsf_export.user_file import regular_file

# FFmpeg's names. Each reads one file that holds a clock, tracks and packets; none of them lists other files.
DEMUXERS = ("avi", "asf", "flv", "matroska", "mov", "mpeg", "mpegts", "mxf", "nut", "ogg")
# How long a header may take. A whole film's index takes seconds; one that is searched for in terabytes takes hours.
OPENING_LIMIT_S = 30.0
# FFmpeg's protocols that a container may use to open something else: it has to be a name, and no protocol has this one.
_NO_PROTOCOL = "none"
_OPTIONS = {"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": _NO_PROTOCOL}


class _Bytes:
    """The bytes of an open file, for FFmpeg. It has no ``name``: FFmpeg would go by that.

    Once opening takes too long there are no more bytes; an exception in here would only be printed.
    """

    def __init__(self, file: FileIO, limit_s: float) -> None:
        self._file = file
        self._until: float | None = time.monotonic() + limit_s
        self.late = False  #: Whether opening took longer than its limit.

    def opened(self) -> None:
        """From here on reading has no limit."""
        self._until = None

    def read(self, size: int) -> bytes:
        if self._until is not None and time.monotonic() > self._until:
            self.late = True
        return b"" if self.late else self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@contextmanager
def open_container(av: Any, path: Path) -> Iterator[Any]:
    """PyAV's container of ``path``: see ``video_file`` and ``container_of``."""
    with video_file(path) as file, container_of(av, file, path) as container:
        yield container


@contextmanager
def video_file(path: Path) -> Iterator[FileIO]:
    """The file, open for ``container_of``. Raises VideoError for what is no regular file."""
    # A stream: how long it is does not matter, what is read of it at once does not depend on it.
    with regular_file(path, expected="a video file", most=None, refusal=VideoError) as file:
        yield file


@contextmanager
def container_of(av: Any, file: FileIO, path: Path) -> Iterator[Any]:
    """PyAV's container of an open file, read from its start; it has a video stream.

    Raises VideoError naming ``path`` for what holds no video or takes too long to open; PyAV's errors pass through.
    """
    file.seek(0)
    source = _Bytes(file, OPENING_LIMIT_S)
    try:
        # Titles and brands in any encoding: nobody reads them, and they are no reason to refuse a video.
        container = av.open(source, options=dict(_OPTIONS), metadata_errors="replace")
    except av.FFmpegError as error:
        raise (_too_late(path) if source.late else error) from error
    with container:
        if source.late:
            raise _too_late(path)
        source.opened()
        if not container.streams.video:
            raise VideoError(f"{path}: expected a video file, got one with no video stream ({container.format.name})")
        if container.streams.video[0].codec_context is None:
            raise VideoError(
                f"{path}: expected a video whose coding FFmpeg knows, got one of another; convert the file"
            )
        yield container


def _too_late(path: Path) -> VideoError:
    return VideoError(f"{path}: not opened within {OPENING_LIMIT_S:g} s; give another file or write this one anew")
