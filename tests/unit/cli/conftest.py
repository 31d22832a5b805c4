"""A small bundle made by the command itself, once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ftsf_export.cli.main import ftsf, run
from tests.videos import real_videos

# Softmax attention: the smallest graph. One block of width 64 on two frames of 32 pixels.
TINY = (
    "--attn", "regular", "--dim", "64", "--depth", "1", "--frames", "2", "--size", "32", "--num-classes", "10",
)  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What one command line said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return facts


Run = Callable[..., Said]


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs ``ftsf ARGUMENTS``; the file descriptors are captured, so that native libraries are heard too."""

    def call(*args: str | Path) -> Said:
        capfd.readouterr()
        code = run(ftsf, [str(arg) for arg in args], "ftsf")
        captured = capfd.readouterr()
        return Said(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    return TINY


@pytest.fixture(scope="session")
def video() -> Path:
    return real_videos() / "carphone_pristine.mp4"


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, video: Path) -> Path:
    """An FP16 bundle without an engine, judged on noise and on two videos. To be copied, not changed."""
    output = tmp_path_factory.mktemp("exported") / "bundle"
    args = ["export", *TINY, "--builder", "none", *["--video", str(video)] * 2, "-o", str(output), "-q"]
    assert run(ftsf, args, "ftsf") == 0
    return output


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "bundle"))
