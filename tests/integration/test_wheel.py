"""``python -m build``: what is in the wheel, and that it alone, with no checkout beside it, exports and informs."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
SOURCES = {"ftsf_export": ".", "fast_timesformer": "model", "ftsf_plugins": "plugins"}
NOT_SOURCES = shutil.ignore_patterns(".git", ".venv", "out", "build", "dist", "__pycache__", "*.egg-info", ".*_cache")


def ran(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed, and that no variable leads to the checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with sdist and wheel, the wheel made from the sdist; the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCES)
    # In this environment, which has what pyproject.toml asks for: an environment of its own would have to be fetched.
    ran(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, folder / "source", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The ``bin`` of an environment with all third-party packages, linked from here, and of ours the wheel alone."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=False, symlinks=True)
    (site,) = home.glob("lib/python*/site-packages")
    for name in ("purelib", "platlib"):
        for found in Path(sysconfig.get_path(name)).iterdir():
            ours = found.name.startswith(("__editable__", "ftsf_export"))
            if not ours and found.suffix != ".pth" and not (site / found.name).exists():
                (site / found.name).symlink_to(found)
    python = home / "bin" / "python"
    missing = subprocess.run(
        [python, "-I", "-c", "import torch, ftsf_export"], capture_output=True, text=True, check=False
    )
    assert "No module named 'ftsf_export'" in missing.stderr
    install = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    ran(sys.executable, "-m", "pip", "--python", python, "install", *install, wheel, cwd=home)
    return home / "bin"


def wanted() -> set[str]:
    """Every file of the three packages, as the wheel names it."""
    return {
        path.relative_to(ROOT / source).as_posix()
        for package, source in SOURCES.items()
        for path in (ROOT / source / package).rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".md")
    }


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert files == wanted()
    assert files >= {
        "ftsf_export/py.typed",
        "ftsf_export/report/templates/report.html.j2",
        "fast_timesformer/attention/regular.py",
        "ftsf_plugins/favor_attention/kernel.py",
    }
    assert {name.partition("/")[0] for name in files} == set(SOURCES)


def test_the_sdist_holds_what_a_wheel_is_made_from(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    assert files >= {"setup.py", "pyproject.toml", "README.md", "LICENSE"}


def test_its_metadata_has_the_requirements_of_setup(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("setuptools.setup", lambda **arguments: given.update(arguments))
    runpy.run_path(str(ROOT / "setup.py"))
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert set(metadata.get_all("Provides-Extra", [])) == set(given["extras_require"])
    requires = metadata.get_all("Requires-Dist", [])
    core = applying(requires, extra="")
    assert core == applying(given["install_requires"], extra="")
    for extra, lines in given["extras_require"].items():
        assert applying(requires, extra=extra) - core == applying(lines, extra="") - core, extra
    assert metadata["Requires-Python"] == given["python_requires"]


def applying(lines: list[str], *, extra: str) -> set[str]:
    """The requirements that pip would follow on this platform for an extra, without their markers."""
    requirements = [Requirement(line) for line in lines]
    return {
        f"{one.name}{one.specifier}"
        for one in requirements
        if one.marker is None or one.marker.evaluate({"extra": extra})
    }


def test_the_documented_example_runs_from_the_wheel_alone(bare: Path, tmp_path: Path) -> None:
    place = ran(
        bare / "python", "-c", "import ftsf_export as f, ftsf_plugins as p; print(f.__file__, p.__file__)", cwd=tmp_path
    )
    assert all(Path(file).is_relative_to(bare.parent) for file in place.split())
    small = ("--size", "32", "--dim", "64", "--depth", "2", "--num-classes", "10", "--builder", "none")
    ran(bare / "ftsf-export", "--attn", "fastformer", "--frames", "8", *small, "-o", "bundle", cwd=tmp_path)
    assert "fastformer" in (tmp_path / "bundle" / "report.html").read_text(encoding="utf-8")
    assert "fastformer divided, 8 frames of 32 px" in ran(bare / "ftsf", "info", "bundle", cwd=tmp_path)
