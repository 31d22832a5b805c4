"""Commands with a fault planted in them, in the place of ``ftsf``: the harness has to find each."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from ftsf_export.cli.main import main


def honest() -> None:
    main()


def writes_into_the_home() -> None:
    Path.home().joinpath(".cache").mkdir()
    main()


def alters_a_file_of_the_user() -> None:
    path = Path("outside", "secret")
    state = path.stat()
    path.write_bytes(b"SECRET")
    # As it was for whoever looks at sizes and times.
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    main()


def leaves_a_temporary_folder() -> None:
    Path(os.environ["TMPDIR"], "ftsf-left").mkdir()
    main()


def hangs() -> None:
    time.sleep(3600)


def works_without_end() -> None:
    while True:
        pass


def prints_a_traceback() -> None:
    raise ValueError("a bug")


def ends_with_exit_70() -> None:
    print("error: this is a bug", file=sys.stderr)
    sys.exit(70)


def says_nothing() -> None:
    sys.exit(2)


def takes_three_gigabytes() -> None:
    held = bytearray(3 << 30)
    held[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(held[:: os.sysconf("SC_PAGE_SIZE")])
    main()


def dies() -> None:
    os.abort()


def leaves_a_process() -> None:
    subprocess.Popen(["sleep", "3600"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    main()


def obeys_control_characters() -> None:
    print("error: \x1b[2J", file=sys.stderr)
    sys.exit(2)


def takes_everything() -> None:
    """Exit 0, and a JSON object, whatever the input."""
    print('{"judged": [], "verdicts": [], "exit_code": 0}')
