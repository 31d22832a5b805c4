"""ONNX Runtime's wheel carries telemetry: no run of ours leaves a device id in somebody's home directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

MakeBundle = Callable[..., Path]
ALONE = (
    "import onnxruntime; from ftsf_export.doctor.probes import IDENTITY_MODEL\n"
    "onnxruntime.InferenceSession(IDENTITY_MODEL, providers=['CPUExecutionProvider'])"
)


def home_after(home: Path, *python: str) -> list[str]:
    """The files that Python, started with these arguments, leaves in ``home``, which is empty before.

    The environment is a bare one: ONNX Runtime keeps quiet by itself where a variable such as ``CI`` is set, and the
    tests must see what this project does about it, not what is set here.
    """
    home.mkdir()
    ended = subprocess.run(
        [sys.executable, *python],
        env={"PATH": os.defpath, "HOME": str(home), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return [path.relative_to(home).as_posix() for path in home.rglob("*")]


def test_verify_leaves_a_clean_home(bundle: MakeBundle, tmp_path: Path) -> None:
    verified = ("-m", "ftsf_export.cli", "verify", str(bundle("regular", "fp32")), "--runner", "onnxruntime")
    assert home_after(tmp_path / "home", *verified) == []


def test_the_probe_of_doctor_leaves_a_clean_home(tmp_path: Path) -> None:
    probe = "from ftsf_export.doctor.probes import probe_onnxruntime; assert probe_onnxruntime()['version']"
    assert home_after(tmp_path / "home", "-c", probe) == []


def test_the_library_alone_does_not(tmp_path: Path) -> None:
    """Where this fails, ONNX Runtime's wheel has changed, and the two tests above prove nothing any more."""
    found = home_after(tmp_path / "home", "-c", ALONE)
    assert any(name.endswith("deviceid") for name in found)


def test_what_loaded_the_library_before_us_is_told_to_stop(tmp_path: Path) -> None:
    before = (
        "import onnxruntime; told = []; onnxruntime.disable_telemetry_events = lambda: told.append(1)\n"
        "from ftsf_export.runners.telemetry import import_onnxruntime\n"
        "assert import_onnxruntime() is onnxruntime and told == [1]"
    )
    home_after(tmp_path / "home", "-c", before)
