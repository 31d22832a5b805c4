"""Polygraphy's own messages, kept from the user's terminal.

Polygraphy writes what it has to say to stdout and stderr. ``quiet_polygraphy`` keeps it from there (stdout is the
user's: a table or a JSON line) and hands the errors over, to go into our own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

# Through Python's logging, errors alone, without its own decoration. Colours off: otherwise the first message prints a
# remark about a package that is missing.
_SETTINGS = {"use_python_logging_system": True, "module_severity": logging.ERROR, "colors": False, "letter": False}


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@contextmanager
def quiet_polygraphy() -> Iterator[list[str]]:
    """While it lasts, Polygraphy (and TensorRT, which logs through it) writes nothing; its errors collect in the list.

    Only Polygraphy's own logger is touched, and all of it is put back.
    """
    from polygraphy.logger import G_LOGGER

    lines: list[str] = []
    handler = _Lines(lines)
    own = logging.getLogger("Polygraphy")
    logger_state = (own.propagate, own.level, own.disabled)
    settings = {name: getattr(G_LOGGER, name) for name in _SETTINGS}
    own.addHandler(handler)
    own.propagate = own.disabled = False
    own.setLevel(logging.ERROR)
    for name, value in _SETTINGS.items():
        setattr(G_LOGGER, name, value)
    try:
        yield lines
    finally:
        for name, value in settings.items():
            setattr(G_LOGGER, name, value)
        own.removeHandler(handler)
        own.propagate, level, own.disabled = logger_state
        own.setLevel(level)
