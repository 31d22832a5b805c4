"""``ftsf doctor`` as a user has it: on this machine, and where only the core packages are installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

from ftsf_export.cli.main import ftsf, run
from ftsf_export.doctor.packages import CORE, required_packages

ROOT = Path(__file__).parents[3]
# This project (for its metadata), the core of setup.py, and what that needs itself.
CORE_DISTRIBUTIONS = (
    "ftsf-export",
    *(package.name for package in required_packages() if package.extra == CORE),
    *("attrs", "markdown-it-py", "mdurl", "pygments", "typing-extensions"),
    *(("exceptiongroup",) if sys.version_info < (3, 11) else ()),
)


@pytest.fixture(scope="module")
def core_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real virtual environment that holds the core packages, linked from here, and nothing else."""
    home = tmp_path_factory.mktemp("core")
    venv.create(home, with_pip=False, symlinks=True)
    (site,) = home.glob("lib/python*/site-packages")
    for name in CORE_DISTRIBUTIONS:
        for top in {file.parts[0] for file in metadata.files(name) or () if file.parts[0] != ".."}:
            found = Path(str(metadata.distribution(name).locate_file(top)))
            if not (site / top).exists():
                (site / top).symlink_to(found)
    # An installation has it; from a checkout it lies under a source root of its own.
    (site / "fast_timesformer").symlink_to(ROOT / "model" / "fast_timesformer")
    return home / "bin" / "python"


def core(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *arguments], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)


def test_that_environment_has_no_more_than_the_core(core_python: Path) -> None:
    for module in ("torch", "onnx", "onnxruntime", "tensorrt_rtx", "av", "pynvml"):
        assert core(core_python, "-c", f"import {module}").returncode == 1
    assert core(core_python, "-c", "import numpy, click, rich, polygraphy").returncode == 0


def test_doctor_works_with_the_core_alone(core_python: Path) -> None:
    done = core(core_python, "-m", "ftsf_export.cli", "doctor", "--json")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    found = json.loads(done.stdout.splitlines()[-1])
    packages = {package["name"]: package for package in found["packages"]}
    assert packages["numpy"]["version"] == metadata.version("numpy")
    assert (packages["torch"]["version"], packages["onnx"]["version"]) == (None, None)
    ready = {command["command"]: command["ready"] for command in found["commands"]}
    assert ready == {
        "export": False,
        "verify": False,
        "build": False,
        "plan": False,
        "bench": False,
        "sweep": False,
        "predict": False,
        "finetune": False,
        "targets": True,
        "info": True,
        "doctor": True,
    }
    assert found["machine"]["executable"] == str(core_python)


def test_for_a_command_that_cannot_run_exits_3_and_says_what_to_install(core_python: Path) -> None:
    done = core(core_python, "-m", "ftsf_export.cli", "doctor", "--for", "export", "--json")
    assert done.returncode == 3
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["exit_code"] == 3
    assert "torch" in found["error"]
    assert "pip install 'ftsf-export[export]'" in found["error"]
    assert core(core_python, "-m", "ftsf_export.cli", "doctor", "--for", "info").returncode == 0


def test_an_unknown_command_is_refused_before_anything_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ftsf, ["doctor", "--for", "sing"], "ftsf") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: --for: expected one of export" in err


def test_what_a_user_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ftsf, ["doctor"], "ftsf") == 0
    out = capsys.readouterr().out
    assert f"Python   {sys.version.split()[0]} ({sys.executable})" in out
    assert "\nDriver " in out
    assert "\n  numpy " in out
    for name in ("export", "verify", "build", "bench", "predict", "info", "doctor"):
        assert f"  ftsf {name} " in out
    assert "ftsf doctor        ready" in out


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_nothing_heavy_is_imported_to_look_at_it() -> None:
    script = (
        "import sys; from ftsf_export.doctor.examine import examine; diagnosis = examine(); "
        "heavy = {'torch', 'onnx', 'onnxruntime', 'tensorrt', 'tensorrt_rtx', 'av', 'pynvml', 'numpy'}; "
        "heavy &= set(sys.modules); assert not heavy, heavy; "
        "assert {f.package.name: f for f in diagnosis.packages}['torch'].version"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
