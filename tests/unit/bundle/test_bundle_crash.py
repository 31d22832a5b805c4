"""kill -9 at any moment: what a reader finds is the old bundle or the new one, whole."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsf_export.bundle import Bundle, Manifest
from ftsf_export.bundle import bundle as opening
from ftsf_export.bundle.contents import read_manifest
from ftsf_export.bundle.folder import Folder
from ftsf_export.errors import BundleError

DRIVER = Path(__file__).with_name("crash_driver.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OPENBLAS_NUM_THREADS": "1"}


def deaths(scenario: str, folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    command = [sys.executable, str(DRIVER), scenario, str(folder)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


@pytest.mark.parametrize(
    ("scenario", "before"),
    [
        ("write", {"absent"}),
        ("write-below", {"absent"}),
        ("overwrite", {"old"}),
        # Without an exchange there is an instant with neither name; the next run puts the old one back.
        ("overwrite-without-exchange", {"old", "absent"}),
        ("record", {"old"}),
        ("replace", {"old"}),
    ],
)
def test_death_at_each_step(tmp_path: Path, scenario: str, before: set[str]) -> None:
    results = deaths(scenario, tmp_path / "work")
    found = [result["found"] for result in results]
    assert len(found) > 10
    assert set(found) == before | {"new"}
    # Once new, it stays new: one instant decides.
    assert found == sorted(found, key=lambda state: state == "new")
    for result in results:
        assert result["accepted"] == [], result
        # Where the bundle goes; inside of one ``.pending`` may be empty.
        assert not scenario.startswith("write") or result["empty"] == [], result
        if not (scenario.startswith("write") and result["found"] == "new"):
            assert result["after"] == "new", result
            assert result["hidden"] == [], result


LOOP = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from crash_driver import write
output, turn = Path(sys.argv[2]), 0
write(output.with_name("warm-up"), "what the first writing loads is loaded", overwrite=True)
print("ready", flush=True)
while True:
    write(output, f"turn {turn}" * 5000, overwrite=True)
    turn += 1
"""


def test_death_at_random_moments_of_a_writer_that_overwrites(tmp_path: Path) -> None:
    draw, seen = random.Random(0), set()
    output = tmp_path / "out"
    for _ in range(4):
        command = [sys.executable, "-c", LOOP, str(DRIVER.parent), str(output)]
        with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) as writer:
            try:
                assert writer.stdout is not None
                assert writer.stdout.readline() == b"ready\n"
                deadline = time.monotonic() + draw.uniform(0.1, 0.5)
                while time.monotonic() < deadline or not output.exists():
                    # A reader beside the writer never meets a half one either.
                    if output.exists():
                        seen.add(Bundle.open(output).onnx_path.read_bytes())
            finally:
                writer.send_signal(signal.SIGKILL)
        Bundle.open(output).golden()
    assert len(seen) > 1


def test_a_bundle_that_is_replaced_and_removed_while_it_is_opened_is_opened_anew(
    bundle: Bundle, write_bundle: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = write_bundle(tmp_path / "new", model="other bytes").path

    def after_the_exchange(folder: Folder) -> Manifest:
        if new.exists():
            bundle.path.rename(tmp_path / "old")
            new.rename(bundle.path)
            shutil.rmtree(tmp_path / "old")
        return read_manifest(folder)

    monkeypatch.setattr(opening, "read_manifest", after_the_exchange)
    assert Bundle.open(bundle.path).onnx_path.read_bytes() != b"model bytes"
    (bundle.path / "manifest.json").unlink()
    with pytest.raises(BundleError, match=r"it holds no manifest\.json"):
        Bundle.open(bundle.path)
