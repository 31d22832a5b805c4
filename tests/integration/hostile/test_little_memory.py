"""A bundle's commands under ``ulimit -v``: one line and exit 4 where there is too little, nothing half-written."""

from __future__ import annotations

import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.integration.hostile.clean import lay
from tests.integration.hostile.snapshot import changes, snapshot

FTSF = Path(sys.executable).with_name("ftsf")
COMMANDS = {
    "verify": ("--runner", "onnxruntime"),
    "build": ("--builder", "rtx", "--target", "rtx-40"),
    "plan": ("--target", "rtx-30"),
    "bench": ("--runner", "onnxruntime"),
}
MIB = 1 << 20


def ended(command: str, mebibytes: int, folder: Path) -> subprocess.CompletedProcess[str]:
    limits = (mebibytes * MIB, mebibytes * MIB)
    return subprocess.run(
        [FTSF, command, "bundle", *COMMANDS.get(command, ()), "-q"],
        cwd=folder,
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_AS, limits),
        capture_output=True,
        text=True,
        check=False,
    )


# The libraries of the first find no room at all; those of the second are there, and their work finds none.
@pytest.mark.parametrize("mebibytes", [110, 150])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_without_memory_is_one_line(clean: Path, tmp_path: Path, command: str, mebibytes: int) -> None:
    lay(clean, "fp16", tmp_path)
    before = snapshot(tmp_path)
    end = ended(command, mebibytes, tmp_path)
    errors = [line for line in end.stderr.splitlines() if not line.startswith("warning: ")]
    assert (end.returncode, len(errors)) == (4, 1), end.stderr
    assert errors[0].startswith("error: ")
    assert changes(before, snapshot(tmp_path)) == ()


def test_reading_what_a_bundle_says_takes_next_to_nothing(clean: Path, tmp_path: Path) -> None:
    lay(clean, "fp16", tmp_path)
    assert ended("info", 60, tmp_path).returncode == 0
