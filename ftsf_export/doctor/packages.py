"""Every package that the toolkit may use: the releases it takes, which extra brings it, and what is installed here.

setup.py is the only list: it is read back from the metadata of the installed distribution. Installed versions come from
metadata too, and nothing is imported (torch alone takes seconds, TensorRT may abort).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ftsf_export.errors import EnvironmentLacks, install_command

CORE = ""  # the extra that is always installed
PROJECT = "ftsf-export"
# Extras for those who work on the project itself: no command uses what they alone bring.
_DEVELOPERS = {"test", "docs"}
# ONNX Runtime, the same files under two names: one is needed, both together break. Each may stand in for the other.
ONNX_RUNTIMES = ("onnxruntime-gpu", "onnxruntime")
# What runs a graph on the CPU; the rest of its extra makes the emulation of a half type.
RUNS_GRAPHS = ("onnx", *ONNX_RUNTIMES)
# The module that a distribution brings, where its name is another one.
_MODULES = {"pillow": "PIL", **dict.fromkeys(ONNX_RUNTIMES, "onnxruntime")}

VersionOf = Callable[[str], str]


@dataclass(frozen=True)
class Package:
    """One requirement of the distribution on this platform."""

    name: str  #: Normalised name of the distribution, for example ``ml-dtypes``.
    extra: str  #: The smallest extra that brings it; ``""`` is the core.
    specifier: str  #: The releases that the toolkit takes, as PEP 440 writes them, for example ``<19,>=14``.


@dataclass(frozen=True)
class Finding:
    """A package as it is on this machine."""

    package: Package  #: The requirement that it is held against.
    version: str | None  #: The installed release; None when the package is not installed.
    problem: str = ""  #: Why the installed release cannot be used; empty when it can, and when none is installed.

    @property
    def usable(self) -> bool:
        """Whether it is installed, in a release that the toolkit takes."""
        return self.version is not None and not self.problem

    @property
    def install(self) -> str:
        """The command that brings a usable release; empty when one is here."""
        return "" if self.usable else install_command(self.package.extra)


def required_packages(distribution: metadata.Distribution | None = None) -> tuple[Package, ...]:
    """Every package that setup.py names for users of this platform, in its order.

    Raises EnvironmentLacks where this project runs from files alone, without the metadata that an installation writes.
    """
    own = distribution or _project()
    sizes: dict[str, int] = {CORE: 0}
    brought_by: dict[str, dict[str, SpecifierSet]] = {}
    for extra in {CORE, *(own.metadata.get_all("Provides-Extra") or ())} - _DEVELOPERS:
        brought = _brought(own, extra)
        sizes[extra] = len(brought) if extra else 0
        for one in brought:
            brought_by.setdefault(canonicalize_name(one.name), {})[extra] = one.specifier
    order = {canonicalize_name(Requirement(line).name): None for line in own.requires or ()}
    smallest = {name: min(brought_by[name], key=sizes.__getitem__) for name in order if name in brought_by}
    return tuple(Package(name, extra, str(brought_by[name][extra])) for name, extra in smallest.items())


def lacking_modules(extra: str, *, only: Collection[str] = ()) -> list[str]:
    """Modules that ``extra`` brings and that Python does not find; nothing is imported.

    ``only``: of these distributions alone. Raises as ``required_packages``.
    """
    names = [canonicalize_name(one.name) for one in _brought(_project(), extra)]
    modules = [_MODULES.get(name, name.replace("-", "_")) for name in names if not only or name in only]
    return [module for module in modules if find_spec(module) is None]


def require_modules(extra: str, purpose: str) -> None:
    """Raises EnvironmentLacks where a module of ``extra`` is missing; ``purpose``: what for ("to read a video")."""
    if lacking := lacking_modules(extra):
        raise EnvironmentLacks(f"{', '.join(lacking)}: not installed, needed {purpose}", extra=extra)


def _project() -> metadata.Distribution:
    try:
        return metadata.distribution(PROJECT)
    except metadata.PackageNotFoundError as error:
        raise EnvironmentLacks(f"{PROJECT} itself is not installed", install=install_command(CORE)) from error


def _brought(distribution: metadata.Distribution, extra: str) -> list[Requirement]:
    """What the distribution needs on this platform, with ``extra``."""
    requirements = [Requirement(line) for line in distribution.requires or ()]
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": extra})]


def find_packages(version_of: VersionOf = metadata.version) -> tuple[Finding, ...]:
    """Every required package with its installed release, in the order of setup.py."""
    return tuple(_find(package, version_of) for package in required_packages())


def _find(package: Package, version_of: VersionOf) -> Finding:
    version = _installed(package.name, version_of)
    for twin in ONNX_RUNTIMES if package.name in ONNX_RUNTIMES and version is None else ():
        if (version := _installed(twin, version_of)) is not None:
            package = replace(package, name=twin)
            break
    if version is None:
        return Finding(package, None)
    try:
        # Of a pre-release or a local build the release counts: NVIDIA's builds for Jetson are alphas by name (2.9.0a0).
        release = Version(version).base_version
    except InvalidVersion:
        return Finding(package, version, f"no version as PEP 440 has them; expected {package.specifier}")
    fits = SpecifierSet(package.specifier).contains(release)
    return Finding(package, version, "" if fits else f"expected {package.specifier}")


def _installed(name: str, version_of: VersionOf) -> str | None:
    try:
        return version_of(name)
    except metadata.PackageNotFoundError:
        return None


def conflicts(version_of: VersionOf = metadata.version) -> tuple[str, ...]:
    """Packages that must not be installed together, one sentence each."""
    if all(_installed(name, version_of) is not None for name in ONNX_RUNTIMES):
        return (
            f"{' and '.join(ONNX_RUNTIMES)} are both installed and overwrite each other's files; mend it with: "
            f"pip uninstall -y {' '.join(ONNX_RUNTIMES)} && {install_command('onnx')}",
        )
    return ()
