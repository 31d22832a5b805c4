"""The top level is fixed, setup.py finds every package, and no file knows the machine that it was written on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[2]
FOLDERS = {"ftsf_export", "model", "plugins", "scripts", "tests", "docs", ".ci", ".github"}
FILES = {
    ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md",
    "constraints.txt", "constraints-floors.txt", "mkdocs.yml", "pyproject.toml", "setup.py",
}  # fmt: skip
VAGUE = {"utils", "helpers", "common", "misc"}
# A home folder or a workspace, somebody's: what tools of one machine write into files.
MACHINE = re.compile(r"(?<![\w.])/(?:home|Users|root|work|workspace|mnt)/[\w.-]+|[A-Z]:\\Users\\")


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := Path(name)) and (ROOT / path).is_file()]


def test_nothing_else_at_the_top(tracked: list[Path]) -> None:
    assert {path.parts[0] for path in tracked if len(path.parts) > 1} <= FOLDERS
    assert {path.name for path in tracked if len(path.parts) == 1} <= FILES


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('x = "/home/me/file"', True),
        ("at C:\\Users\\me", True),
        ("see /mnt/disk/x.py:3", True),
        ("https://example.org/home/page", False),
        ("a/work/b", False),
        ("/tmp/x and /usr/lib", False),
    ],
)
def test_what_counts_as_a_path_of_a_machine(line: str, found: bool) -> None:
    assert bool(MACHINE.search(line)) is found


def test_no_path_of_a_machine(tracked: list[Path]) -> None:
    own = Path(__file__).relative_to(ROOT)
    found = []
    for path in tracked:
        if path == own:
            continue
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if (match := MACHINE.search(line)) or str(ROOT) in line:
                found.append(f"{path}:{number}: {match[0] if match else ROOT}")
    assert found == []


def test_every_folder_with_code_is_a_package_that_is_installed() -> None:
    """Without __init__.py a folder works from a checkout and is missing after an installation."""
    for source, package in ((".", "ftsf_export"), ("model", "fast_timesformer")):
        installed = set(find_packages(str(ROOT / source), include=[package, f"{package}.*"]))
        folders = {path.parent for path in (ROOT / source / package).rglob("*.py")}
        assert {".".join(folder.relative_to(ROOT / source).parts) for folder in folders} == installed


def test_one_noun_a_module_and_none_of_them_vague(tracked: list[Path]) -> None:
    assert [path for path in tracked if path.stem in VAGUE or VAGUE & set(path.parts)] == []


def test_the_scripts_can_be_run(tracked: list[Path]) -> None:
    scripts = [path for path in tracked if path.parts[0] in ("scripts", ".ci") and not path.suffix]
    assert {path.name for path in scripts} >= {"demo", "test", "install", "run"}
    for path in scripts:
        assert (ROOT / path).stat().st_mode & 0o100, f"{path} is not executable"
        assert (ROOT / path).read_text(encoding="utf-8").startswith("#!"), path
