"""The first hour on a GPU, rehearsed on the GPU that is not one, with PyTorch, Triton and NumPy alone."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.rig.rig import HERE, ROOT, Rig

# What PyTorch cannot do without is installed with it.
INSTALLED = ("torch", "triton", "numpy")


def requirements(name: str, found: set[str]) -> set[str]:
    """The distributions that come with one, itself too."""
    if name not in found:
        found.add(name)
        for line in importlib.metadata.requires(name) or ():
            needed = re.match(r"[\w.-]+", line)
            if needed and ";" not in line and "extra" not in line:
                requirements(needed[0], found)
    return found


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with these three alone: links to the files of this one."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    here = Path(sysconfig.get_path("purelib"))
    there = next(folder.glob("lib/python*/site-packages"))
    found: set[str] = set()
    for name in INSTALLED:
        requirements(name, found)
    for name in found:
        for file in importlib.metadata.files(name) or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (there / top).exists():
                (there / top).symlink_to(here / top)
    return folder / "bin" / "python"


def test_a_rehearsal_runs_what_is_there_and_says_what_is_missing(
    rig: Rig, kernels: Path, bare_python: Path, tmp_path: Path
) -> None:
    environment = rig.environment()
    path = os.pathsep.join([str(HERE / "site"), environment["PYTHONPATH"]])
    variables = {"PYTHON": str(bare_python), "PYTHONPATH": path, "RIG_DEVICE": "orin", "RIG_KERNELS": str(kernels),
                 "RIG_COMPLAINTS": str(tmp_path / "complaints"), "TRITON_INTERPRET": "1"}  # fmt: skip
    ended = subprocess.run(
        [ROOT / "scripts" / "gpu-day", "--rehearse", "--plugin-kernels", kernels, "-o", tmp_path / "day"],
        capture_output=True, text=True, timeout=300, env=environment | variables, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr
    told = json.loads((tmp_path / "day" / "gpu-day.json").read_text(encoding="utf-8"))
    sections = {one["name"]: one["steps"] for one in told["sections"]}
    trials = [row for step in sections["kernels"] for row in step["rows"]]
    assert [step["status"] for step in sections["kernels"]] == ["done"] * 3, sections["kernels"]
    assert {(row["operation"], row["code"]) for row in trials if row["right"]} == {
        (name, code)
        for name in ("FtsfAdditiveAttention", "FtsfFavorAttention", "FtsfRotaryAttention")
        for code in ("machine code", "PTX")
    }
    # The rig's clock takes a millisecond for each launch.
    assert {row["ms"] for row in trials} == {1.0}
    assert (tmp_path / "complaints").read_text() == ""
    missing = {name: sections[name][0]["reason"] for name in ("doctor", "models", "engines")}
    assert "not installed: cattrs, packaging" in missing["doctor"]
    assert "finds no GPU; install a build of PyTorch for CUDA" in missing["models"]
    assert "tensorrt is not installed" in missing["engines"]
    text = (tmp_path / "day" / "gpu-day.md").read_text(encoding="utf-8")
    assert text.startswith(
        "# Rehearsal of the first hour on a GPU\n\nThis is a rehearsal at small sizes. No figure below is"
    )
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in text
    assert all(reason in text for reason in missing.values())
