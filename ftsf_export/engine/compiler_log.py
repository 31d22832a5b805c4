"""The file that a compiler's log goes to, in the process that compiles."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ftsf_export.disk import refusals_translated_at


class CompilerLog:
    """What a compiler says, line by line. It stands no exception from here: a disk that takes no more is remembered."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.refused: OSError | None = None  #: Why lines are missing.

    def write(self, line: str) -> None:
        try:
            if self.refused is None:
                self._file.write(line)
        except OSError as error:
            self.refused = error


@contextmanager
def compiler_log(path: Path) -> Iterator[CompilerLog]:
    """Without its log no engine's plan can be read. Raises OutputError where the disk takes none of it."""
    with refusals_translated_at(path, "write the compiler's log"):
        file = path.open("w", encoding="utf-8", buffering=1)
        log = CompilerLog(file)
    try:
        yield log
    finally:
        with contextlib.suppress(OSError):
            file.close()
        if log.refused is not None:
            with refusals_translated_at(path, "write the compiler's log"):
                raise log.refused
