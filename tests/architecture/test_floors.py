"""Lower bounds in ``setup.py`` are the versions of ``constraints-floors.txt``, with which scripts/test-floors runs."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.requirements import ROOT, applying, asked

LOWEST = {
    "python_version": "3.10",
    "python_full_version": "3.10.0",
    "platform_machine": "x86_64",
    "sys_platform": "linux",
}


def apart(lines: list[str], pins: dict[str, Version]) -> list[str]:
    """Requirements whose lower bound is not what was pinned. Where no release has just that number, the first of its
    series is: 12.535.77 for 12."""
    return [
        str(one)
        for name, one in applying(lines, **LOWEST).items()
        if name not in pins or not any(begins(pins[name], bound) for bound in lower_bounds(one))
    ]


def lower_bounds(one: Requirement) -> list[Version]:
    return [Version(limit.version) for limit in one.specifier if limit.operator in (">=", "==")]


def begins(version: Version, bound: Version) -> bool:
    wide = (*version.release, 0, 0, 0)
    return version >= bound and wide[: len(bound.release)] == bound.release


@pytest.fixture(scope="module")
def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints-floors.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_every_lower_bound_is_in_the_list(pins: dict[str, Version]) -> None:
    assert apart(asked("test"), pins) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [("numpy>=1.27", True), ("numpy", True), ("numpy>=1.25", True), ("nothing-like-it>=1", True), ("numpy>=1", False)],
)
def test_a_bound_that_the_list_does_not_have_is_found(line: str, found: bool, pins: dict[str, Version]) -> None:
    assert bool(apart([line], pins)) is found
