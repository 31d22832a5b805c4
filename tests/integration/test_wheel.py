"""``python -m build``: what is in the wheel, and that it alone, with no checkout beside it, exports and informs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.requirements import ROOT, given_to_setup

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
def bare(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Callable[[str], Path]:
    """Makes an environment as ``pip install WHEEL[EXTRA]`` would, and returns its ``bin``.

    Packages that the wheel's metadata asks for, and those that these ask for, are linked from here; no other is there.
    """

    def made(extra: str) -> Path:
        home = tmp_path_factory.mktemp("bare")
        venv.create(home, with_pip=False, symlinks=True)
        (site,) = home.glob("lib/python*/site-packages")
        for name in asked_for([Requirement(line) for line in requirements_of(wheel)], {extra}):
            for top in {file.parts[0] for file in distribution(name).files or () if file.parts[0] != ".."}:
                found = Path(str(distribution(name).locate_file(top)))
                if found.exists() and not (site / top).exists():
                    (site / top).symlink_to(found)
        python = home / "bin" / "python"
        for absent in ("pytest", "ftsf_export"):
            tried = subprocess.run([python, "-I", "-c", f"import {absent}"], capture_output=True, text=True)
            assert f"No module named '{absent}'" in tried.stderr
        install = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
        ran(sys.executable, "-m", "pip", "--python", python, "install", *install, wheel, cwd=home)
        return home / "bin"

    return made


def asked_for(requirements: list[Requirement], extras: set[str]) -> set[str]:
    """Names of all distributions that pip would install."""
    found: set[str] = set()
    waiting = [(one, extras) for one in requirements]
    while waiting:
        one, asked = waiting.pop()
        wanted = one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in {"", *asked})
        name = canonicalize_name(one.name)
        if wanted and name not in found:
            found.add(name)
            waiting += [(Requirement(line), one.extras) for line in distribution(name).requires or ()]
    return found


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


def test_its_metadata_has_the_requirements_of_setup(wheel: Path) -> None:
    given = given_to_setup()
    metadata = metadata_of(wheel)
    assert set(metadata.get_all("Provides-Extra", [])) == set(given["extras_require"])
    requires = metadata.get_all("Requires-Dist", [])
    core = applying(requires, extra="")
    assert core == applying(given["install_requires"], extra="")
    for extra, lines in given["extras_require"].items():
        assert applying(requires, extra=extra) - core == applying(lines, extra="") - core, extra
    assert metadata["Requires-Python"] == given["python_requires"]


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def requirements_of(wheel: Path) -> list[str]:
    return metadata_of(wheel).get_all("Requires-Dist", [])


def applying(lines: list[str], *, extra: str) -> set[str]:
    """The requirements that pip would follow on this platform for an extra, without their markers."""
    requirements = [Requirement(line) for line in lines]
    return {
        f"{one.name}{one.specifier}"
        for one in requirements
        if one.marker is None or one.marker.evaluate({"extra": extra})
    }


def test_the_documented_example_runs_with_what_the_wheel_asks_for(bare: Callable[[str], Path], tmp_path: Path) -> None:
    """Exported with the extra ``export``; a machine with ``onnx`` verifies, one with the core alone informs."""
    exports = bare("export")
    ask = "import ftsf_export as f, ftsf_plugins as p; print(f.__file__, p.__file__)"
    place = ran(exports / "python", "-c", ask, cwd=tmp_path)
    assert all(Path(file).is_relative_to(exports.parent) for file in place.split())
    small = ("--size", "32", "--dim", "64", "--depth", "2", "--num-classes", "10", "--builder", "none")
    ran(exports / "ftsf-export", "--attn", "fastformer", "--frames", "8", *small, "-o", "bundle", cwd=tmp_path)
    assert "fastformer" in (tmp_path / "bundle" / "report.html").read_text(encoding="utf-8")
    assert "passed" in ran(bare("onnx") / "ftsf", "verify", "bundle", cwd=tmp_path)
    assert "fastformer divided, 8 frames of 32 px" in ran(bare("") / "ftsf", "info", "bundle", cwd=tmp_path)


def test_every_package_that_is_imported_is_asked_for(wheel: Path) -> None:
    """By an extra for users, and by name: what only another package brings goes when that one lets go of it."""
    lines = [line for line in requirements_of(wheel) if not re.search("extra == .(test|docs|demo)\b", line)]
    asked = {canonicalize_name(Requirement(line).name) for line in lines}
    owners = packages_distributions()
    unasked = {
        f"{file.name}: {module}"
        for package, folder in SOURCES.items()
        for file in (ROOT / folder / package).rglob("*.py")
        for module in imported(file.read_text(encoding="utf-8")) - sys.stdlib_module_names - set(SOURCES)
        if not {canonicalize_name(name) for name in owners.get(module, [module])} & asked
    }
    assert unasked == set()


def imported(source: str) -> set[str]:
    """The packages that a module's statements import, anywhere in it."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in names}


def test_what_an_import_is() -> None:
    assert imported("import a.b, c\ndef f():\n    from d.e import g\n    from .h import i") == {"a", "c", "d"}
