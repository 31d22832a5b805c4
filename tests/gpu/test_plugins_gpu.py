"""The plugins' kernels on the GPU: against the float64 reference, with timings. Each in a process of its own: the
interpreter, which other tests ask for, is asked for once a process.

Written where there was no GPU: what these tests say about hardware holds once they have been run on it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("plugins_driver.py")
LIMITS = {"fp16": 2e-3, "bf16": 1e-2}


@pytest.mark.parametrize("element", ["fp16", "bf16"])
@pytest.mark.parametrize("along", ["time", "space"])
@pytest.mark.parametrize("operation", ["additive", "favor", "rotary"])
def test_the_kernel_on_the_gpu(operation: str, along: str, element: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    ended = subprocess.run(
        [sys.executable, str(DRIVER), operation, along, element],
        capture_output=True, text=True, env=environment, timeout=600,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    measured = json.loads(ended.stdout.splitlines()[-1])
    print(operation, along, element, measured)
    assert measured["worst"] <= LIMITS[element]
    assert measured["latency_ms"] > 0
