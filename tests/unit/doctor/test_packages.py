"""What is read from the distribution's metadata, and what is made of the releases that are found."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ftsf_export.doctor.packages import (
    CORE,
    Finding,
    Package,
    conflicts,
    find_packages,
    install_command,
    required_packages,
)
from ftsf_export.errors import EnvironmentLacks
from tests.requirements import applying, asked, given_to_setup

# The oldest release of PyTorch that setup.py takes.
TORCH = str(applying(asked("export"))["torch"].specifier).removeprefix(">=")


def versions(**installed: str) -> Any:
    """A machine with these packages (underscores for hyphens) and no others."""
    known = {canonicalize_name(name): version for name, version in installed.items()}

    def version_of(name: str) -> str:
        if name not in known:
            raise metadata.PackageNotFoundError(name)
        return known[name]

    return version_of


def finding(name: str, findings: tuple[Finding, ...]) -> Finding:
    return {f.package.name: f for f in findings}[name]


def distribution(tmp_path: Path, *requires: str, extras: tuple[str, ...] = ()) -> metadata.Distribution:
    """One that was installed with these requirements."""
    lines = ["Metadata-Version: 2.4", "Name: ftsf-export", "Version: 1"]
    lines += [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {line}" for line in requires]
    (tmp_path / "METADATA").write_text("\n".join(lines) + "\n")
    return metadata.Distribution.at(tmp_path)


def test_every_package_that_setup_names_for_users_is_found() -> None:
    given = given_to_setup()
    lists = {CORE: given["install_requires"], **given["extras_require"]}
    wanted = [Requirement(line) for extra, lines in lists.items() if extra not in ("test", "docs") for line in lines]
    here = {canonicalize_name(one.name): one for one in wanted if one.marker is None or one.marker.evaluate()}
    found = {package.name: package for package in required_packages()}
    assert found.keys() == here.keys()
    for name, package in found.items():
        assert package.specifier == str(here[name].specifier)
        assert name in {canonicalize_name(Requirement(line).name) for line in lists[package.extra]}


def test_a_package_belongs_to_the_smallest_extra_that_brings_it(tmp_path: Path) -> None:
    own = distribution(
        tmp_path,
        "click>=8",
        *(f'{name}; extra == "export"' for name in ("torch>=2.9", "onnx>=1.17")),
        'onnx>=1.17; extra == "onnx"',
        'pytest>=8; extra == "test"',
        'click>=8; extra == "test"',
        extras=("export", "onnx", "test"),
    )
    assert required_packages(own) == (
        Package("click", CORE, ">=8"),
        Package("torch", "export", ">=2.9"),
        Package("onnx", "onnx", ">=1.17"),
    )


def test_what_pip_would_not_install_on_this_platform_is_not_asked_for(tmp_path: Path) -> None:
    own = distribution(
        tmp_path,
        'one_name>=1; sys_platform == "nowhere" and extra == "x"',
        'other_name>=2; sys_platform != "nowhere" and extra == "x"',
        extras=("x",),
    )
    assert required_packages(own) == (Package("other-name", "x", ">=2"),)


def test_without_an_installation_there_is_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftsf_export.doctor.packages.PROJECT", "ftsf-export-that-is-not-here")
    with pytest.raises(EnvironmentLacks, match="itself is not installed; install it with: pip install ftsf-export"):
        required_packages()


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("2.8.1", f"expected >={TORCH}"),
        (TORCH, ""),
        (f"{TORCH}.0", ""),
        (f"{TORCH}.0a0+872d972e41.nv25.8", ""),
        ("2.99.0+cpu", ""),
        ("2.100.0rc1", ""),
        ("10.0", ""),
        ("unknown", f"no version as PEP 440 has them; expected >={TORCH}"),
    ],
)
def test_releases_are_compared_as_pep_440_says(version: str, problem: str) -> None:
    torch = finding("torch", find_packages(versions(torch=version)))
    assert (torch.version, torch.problem, torch.usable) == (version, problem, not problem)


def test_a_release_that_is_too_new() -> None:
    assert finding("av", find_packages(versions(av="18.9.9"))).usable
    for version in ("19.0.0", "19.0.0rc1"):
        assert (
            finding("av", find_packages(versions(av=version))).problem
            == f"expected {applying(asked('video'))['av'].specifier}"
        )


def test_what_is_not_installed_has_no_problem_and_is_not_usable() -> None:
    torch = finding("torch", find_packages(versions()))
    assert (torch.version, torch.problem, torch.usable) == (None, "", False)
    assert torch.install == "pip install 'ftsf-export[export]'"
    assert install_command(CORE) == "pip install ftsf-export"


def test_nobody_is_told_to_install_the_second_onnxruntime() -> None:
    """One of the two is asked for, and the other one stands in for it."""

    def rows(**installed: str) -> list[tuple[str, str]]:
        found = find_packages(versions(**installed))
        return [(f.package.name, f.install) for f in found if f.package.name.startswith("onnxruntime")]

    ((_, install),) = rows()
    assert install == "pip install 'ftsf-export[onnx]'"
    assert rows(onnxruntime="1.22") == [("onnxruntime", "")]
    assert rows(onnxruntime_gpu="1.22") == [("onnxruntime-gpu", "")]


def test_two_onnxruntimes_are_a_fault() -> None:
    assert conflicts(versions(onnxruntime="1.22")) == ()
    assert conflicts(versions(onnxruntime_gpu="1.22")) == ()
    (problem,) = conflicts(versions(onnxruntime="1.22", onnxruntime_gpu="1.22"))
    assert "pip uninstall -y onnxruntime-gpu onnxruntime && pip install 'ftsf-export[onnx]'" in problem
