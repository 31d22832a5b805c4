"""The rig, its libraries made once, and the kernels that it runs, compiled once a test run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsf_export import ExportConfig, export
from tests.rig.attention import FRAMES, TOKENS, WIDTH
from tests.rig.rig import ROOT, NotReached, Rig, locked


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all processes of this test run."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "rig-shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return Rig(tmp_path_factory.mktemp("rig"))


@pytest.fixture(scope="session")
def kernels(shared_folder: Path) -> Path:
    """All operations in half precision for an Orin, as scripts/build-plugins makes them."""
    folder = shared_folder / "kernels"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    with locked(shared_folder / "lock"):
        if not (folder / "manifest.json").exists():
            arguments = ["-o", str(folder), "--target", "sm_87", "--element", "fp16"]
            subprocess.run(
                [sys.executable, "-m", "ftsf_plugins.prebuild", *arguments],
                check=True, capture_output=True, text=True, timeout=500, env=environment,
            )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def bundle_kernels(shared_folder: Path) -> Path:
    """Those that a bundle starts: softmax attention of the sizes in ``attention.py``."""
    folder, bundle = shared_folder / "bundle-kernels", shared_folder / "bundle"
    with locked(shared_folder / "lock"):
        if not (folder / "manifest.json").exists():
            sizes = {"frames": FRAMES, "size": (80, 16 * (TOKENS - 1) // 5), "dim": WIDTH, "depth": 2, "num_classes": 5}
            export(ExportConfig(attn="regular", plugins="all", builder="none", **sizes), output=bundle)
            script = ROOT / "scripts" / "build-plugins"
            subprocess.run(
                [script, "--bundle", bundle, "--target", "sm_87", "-o", folder],
                check=True, capture_output=True, text=True, timeout=500,
            )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def say(rig: Rig) -> Callable[..., Any]:
    """What a script says on the rig; the test is skipped where NVIDIA's bindings are to be fetched and PyPI is away."""

    def run(script: str, *arguments: object, **how: str) -> Any:
        try:
            return rig.run(script, *map(str, arguments), **how)
        except NotReached as error:
            pytest.skip(str(error))

    return run
