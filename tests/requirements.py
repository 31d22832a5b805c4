"""What ``setup.py`` asks for, and what the files of constraints pin."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any
from unittest import mock

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def given_to_setup() -> dict[str, Any]:
    """The arguments that ``setup.py`` hands to setuptools."""
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    return dict(setup.call_args.kwargs)


def asked(*extras: str) -> list[str]:
    """The requirements of the core and of extras, as pip would read them."""
    given = given_to_setup()
    return [*given["install_requires"], *(line for extra in extras for line in given["extras_require"][extra])]


def applying(lines: list[str], **environment: str) -> dict[str, Requirement]:
    """Those without a marker and those whose marker holds, by name. ``environment``: what differs from this one."""
    read = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        canonicalize_name(one.name): one for one in read if one.marker is None or one.marker.evaluate(dict(environment))
    }
