"""The plugins' kernels on the GPU: against the float64 reference, with timings. Each in a process of its own: the
interpreter, which other tests ask for, is asked for once a process.

Written where there was no GPU: what these tests say about hardware holds once they have been run on it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ftsf_plugins.register import OPERATIONS


@pytest.mark.parametrize("element", ["fp16", "bf16"])
@pytest.mark.parametrize("along", ["time", "space"])
@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_the_kernel_on_the_gpu(operation: str, along: str, element: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    ended = subprocess.run(
        [sys.executable, "-m", "ftsf_plugins.trial", operation, "--along", along, "--element", element],
        capture_output=True, text=True, env=environment, timeout=600,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr + ended.stdout
    trials = [json.loads(line) for line in ended.stdout.splitlines()]
    print(trials)
    assert [trial["code"] for trial in trials] == ["machine code", "PTX"]
    assert all(0 <= trial["worst"] <= trial["limit"] and trial["ms"] > 0 for trial in trials)
