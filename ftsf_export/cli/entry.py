"""Where the programs start: what Ctrl-C and SIGTERM do until ``cli.supervised`` answers them.

The modules that a command is made of take some tenths of a second to load, and a signal in that time would end in
Python's own traceback. Nothing has been done by then, so the program ends at once. Before the first line of this module
the interpreter starts, which is beyond our reach.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143
_ENDINGS = {signal.SIGINT: (EXIT_INTERRUPTED, "interrupted"), signal.SIGTERM: (EXIT_TERMINATED, "terminated")}


def main() -> None:
    """The ``ftsf`` program."""
    _end_at_signals()
    from ftsf_export.cli.main import main

    main()


def export_main() -> None:
    """The ``ftsf-export`` program: the same as ``ftsf export``."""
    _end_at_signals()
    from ftsf_export.cli.main import export_main

    export_main()


def _end_at_signals() -> None:
    for number in _ENDINGS:
        # What was ignored when we started (nohup, a job in the background of a script) stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    code, word = _ENDINGS[signal.Signals(number)]
    os.write(2, f"error: {word}; nothing was begun\n".encode())
    if "--json" in sys.argv:
        os.write(1, f'{{"error": "{word}", "exit_code": {code}}}\n'.encode())
    os._exit(code)
