"""A file that is written whole or not at all. Imports no torch."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Under a temporary name beside the target, flushed to the disk, then renamed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        # Also on Ctrl-C: no half-written file is left behind.
        temporary.unlink(missing_ok=True)
        raise
