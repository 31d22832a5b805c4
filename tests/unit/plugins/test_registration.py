"""Both registrations go through NVIDIA's own Python code: its validation, and its answers to the builder."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_bindings") is None,
    reason="needs NVIDIA's Python code: pip install --no-deps tensorrt-cu13-bindings",
)


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What the driver prints. In a process of its own: kernels that are to be compiled are not interpreted."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    driver = Path(__file__).with_name("registration_driver.py")
    ended = subprocess.run([sys.executable, str(driver)], capture_output=True, text=True, env=environment, timeout=300)
    assert ended.returncode == 0, ended.stderr
    printed: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return printed


@pytest.mark.parametrize("operation", ["additive", "favor", "rotary"])
def test_shapes_and_types(answers: dict[str, Any], operation: str) -> None:
    told = answers[operation]
    assert told["output_shapes"] == [[3, 8 * 197, 512]]
    assert told["output_types"] == ["DataType.HALF"]
    types = [one.removeprefix("DataType.") for one in told["types"]]
    if operation == "additive":
        assert types == ["HALF", *["FLOAT"] * 4, "HALF", "BF16", *["FLOAT"] * 4, "BF16", *["FLOAT"] * 6]
    elif operation == "rotary":
        assert types == ["HALF", *["FLOAT"] * 2, "HALF", "BF16", *["FLOAT"] * 2, "BF16", *["FLOAT"] * 4]
    else:
        assert types == ["HALF", "HALF", "FLOAT", "FLOAT", "HALF", "BF16", "BF16", "FLOAT", "FLOAT", "BF16"]


@pytest.mark.parametrize("operation", ["additive", "favor", "rotary"])
def test_the_launch_for_three_clips(answers: dict[str, Any], operation: str) -> None:
    """Sequences and strides by hand: 3 clips of 8 frames of 197 tokens, rows of 1536 and 512 elements."""
    told = answers[operation]
    sequences = 3 * 197
    features = [266] if operation == "favor" else []
    strides = [8 * 197 * 1536, 1536, 197 * 1536, 8 * 197 * 512, 512, 197 * 512]
    assert told["scalars"] == [sequences, 197, 8, *features, *strides]
    assert told["grid"] == [-(-sequences // 8), 8, 1]
    assert told["kernel"] == told["entry"]
    # As many parameters as TensorRT hands over: inputs, scalars, output; Triton's own are gone.
    assert told["parameters"] == {"additive": 5, "favor": 4, "rotary": 3}[operation] + len(told["scalars"]) + 1
    assert told["architecture"] == "sm_87"


def test_a_sequence_of_many_tokens_is_shared_by_several_programs(answers: dict[str, Any]) -> None:
    """Joint attention over 1,577 tokens of three clips: 256 queries a program."""
    assert answers["joint"]["grid"] == [3 * 7, 8, 1]


def test_a_wrong_registration_is_refused(answers: dict[str, Any]) -> None:
    """The validation is there: it is not an empty stand-in that says yes."""
    assert "qkv" in answers["refused"]
    assert answers["refused"] != "accepted"
