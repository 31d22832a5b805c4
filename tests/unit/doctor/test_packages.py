"""The table of packages against setup.py, and what is made of the releases that are found."""

from __future__ import annotations

import re
import runpy
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from ftsf_export.doctor.packages import (
    CORE,
    PACKAGES,
    Finding,
    advice,
    conflicts,
    find_packages,
    install_command,
)

ROOT = Path(__file__).parents[3]
# Extras of setup.py that bring packages of their own: the rest gather these, or are for those who work on the project.
EXTRAS = ("export", "onnx", "rtx", "tensorrt", "video", "nvml", "hub")


def versions(**installed: str) -> Any:
    """A machine with these packages (underscores for hyphens) and no others."""
    known = {name.replace("_", "-"): version for name, version in installed.items()}

    def version_of(name: str) -> str:
        if name.replace("_", "-") not in known:
            raise metadata.PackageNotFoundError(name)
        return known[name.replace("_", "-")]

    return version_of


def finding(name: str, findings: tuple[Finding, ...]) -> Finding:
    return {f.package.name: f for f in findings}[name]


@pytest.fixture
def requirements(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """Extra ("": the core) -> package -> version specifier, as setup.py has them."""
    given: dict[str, Any] = {}
    monkeypatch.setattr("setuptools.setup", lambda **arguments: given.update(arguments))
    runpy.run_path(str(ROOT / "setup.py"))
    lists = {CORE: given["install_requires"], **given["extras_require"]}
    out: dict[str, dict[str, str]] = {}
    for extra, lines in lists.items():
        parts = [re.fullmatch(r"([\w-]+)([^;]*)(;.*)?", line) for line in lines]
        out[extra] = {part[1]: part[2].strip() for part in parts if part}
    return out


def test_every_package_of_setup_is_in_the_table(requirements: dict[str, dict[str, str]]) -> None:
    wanted = {name for extra in (CORE, *EXTRAS) for name in requirements[extra]}
    assert {package.name for package in PACKAGES} == wanted


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_releases_and_extra_are_those_of_setup(package: Any, requirements: dict[str, dict[str, str]]) -> None:
    limits = f">={package.minimum}" + (f",<{package.below}" if package.below else "")
    assert requirements[package.extra][package.name] == limits


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("2.8.1", "expected at least 2.9"),
        ("2.9", ""),
        ("2.9.0", ""),
        ("2.13.0+cpu", ""),
        ("2.10.0rc1", ""),
        ("10.0", ""),
    ],
)
def test_releases_are_compared_as_numbers(version: str, problem: str) -> None:
    torch = finding("torch", find_packages(versions(torch=version)))
    assert (torch.version, torch.problem, torch.usable) == (version, problem, not problem)


def test_a_release_that_is_too_new() -> None:
    assert finding("av", find_packages(versions(av="18.9.9"))).usable
    assert finding("av", find_packages(versions(av="19.0.0"))).problem == "expected below 19"


def test_what_is_not_installed_has_no_problem_and_is_not_usable() -> None:
    torch = finding("torch", find_packages(versions()))
    assert (torch.version, torch.problem, torch.usable) == (None, "", False)
    assert advice(torch, find_packages(versions())) == "pip install 'ftsf-export[export]'"
    assert install_command(CORE) == "pip install ftsf-export"


def test_nobody_is_told_to_install_the_second_onnxruntime() -> None:
    none = find_packages(versions())
    one = find_packages(versions(onnxruntime="1.22"))
    assert [advice(finding(name, none), none) for name in ("onnxruntime", "onnxruntime-gpu")] == [
        "pip install 'ftsf-export[onnx]'"
    ] * 2
    assert [advice(finding(name, one), one) for name in ("onnxruntime", "onnxruntime-gpu")] == ["", ""]


def test_two_onnxruntimes_are_a_fault() -> None:
    assert conflicts(find_packages(versions(onnxruntime="1.22"))) == ()
    assert conflicts(find_packages(versions(onnxruntime_gpu="1.22"))) == ()
    (problem,) = conflicts(find_packages(versions(onnxruntime="1.22", onnxruntime_gpu="1.22")))
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'ftsf-export[onnx]'" in problem
