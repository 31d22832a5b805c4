"""Look at this machine: packages, driver, GPUs, libraries that really load, and what each command lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from ftsf_export.doctor import commands
from ftsf_export.doctor.commands import Readiness, needs_of_commands, readiness
from ftsf_export.doctor.machine import Machine, this_machine
from ftsf_export.doctor.packages import ONNX_RUNTIMES, Finding, VersionOf, conflicts, find_packages, required_packages
from ftsf_export.errors import EnvironmentLacks, RunError, UsageError
from ftsf_export.known_faults import Stack, warnings_for
from ftsf_export.process.parent import Ending, run_in_child

_PROBE_TIMEOUT_S = 60.0

# Library (module) -> the distributions that bring it. JetPack and conda bring some without a distribution's metadata.
_LIBRARIES = {
    "onnxruntime": ONNX_RUNTIMES,
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt-rtx-cu13",),
    "av": ("av",),
}
_ABILITIES = {
    "onnxruntime": commands.ONNX_RUNTIME,
    "tensorrt": commands.TENSORRT,
    "tensorrt_rtx": commands.TENSORRT_RTX,
}

Probe = Callable[[str], "ProbeResult"]


@dataclass(frozen=True)
class ProbeResult:
    """What one library answered in a process of its own."""

    name: str  #: Name of the library, or ``driver``.
    problem: str  #: Why it does not work; empty when it does.
    answer: Mapping[str, Any]  #: What it says of itself, as JSON: versions, providers, GPUs.

    @property
    def works(self) -> bool:
        """Whether the library loaded and answered."""
        return not self.problem


@dataclass(frozen=True)
class Diagnosis:
    """Everything that doctor found."""

    machine: Machine  #: Python, system, processor and memory.
    packages: tuple[Finding, ...]  #: Every package that setup.py names for users.
    probes: Mapping[str, ProbeResult]  #: The driver, and every library that is installed, by name.
    problems: tuple[str, ...]  #: Faults to mend, one sentence each; what merely is not there is none.
    commands: tuple[Readiness, ...]  #: Every command with what it lacks here.
    warnings: tuple[str, ...] = ()  #: What others have met with this TensorRT on these GPUs, in some graphs.

    @property
    def gpus(self) -> tuple[Mapping[str, Any], ...]:
        """``name``, ``compute_capability`` and ``memory_bytes`` of each GPU."""
        return tuple(self.probes["driver"].answer.get("gpus", ()))

    def command(self, name: str) -> Readiness:
        """Raises KeyError for a command that is not in the table."""
        return {readiness.command: readiness for readiness in self.commands}[name]

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "machine": asdict(self.machine),
            "packages": [
                {
                    **asdict(f.package),
                    "version": f.version,
                    "problem": f.problem,
                    "usable": f.usable,
                    "install": f.install,
                }
                for f in self.packages
            ],
            "libraries": {name: {"problem": p.problem, **p.answer} for name, p in self.probes.items()},
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            "commands": [{**asdict(c), "ready": c.ready} for c in self.commands],
        }


def run_probe(name: str) -> ProbeResult:
    """Ask one library in a process of its own, which may abort or hang without harm to this one."""
    try:
        answer = run_in_child(
            "ftsf_export.doctor.probes:probe",
            name,
            failed=_problem,
            timeout_s=_PROBE_TIMEOUT_S,
        )
    except (EnvironmentLacks, RunError) as error:
        return ProbeResult(name, error.message, {})
    return ProbeResult(name, "", answer.value)


def _problem(ending: Ending) -> RunError:
    return RunError(ending.said if ending.how == "failed" else f"its process {ending.how}: {ending.said}")


def is_importable(module: str) -> bool:
    """Whether Python finds the module; it is not imported."""
    return find_spec(module) is not None


def examine(
    *,
    version_of: VersionOf = metadata.version,
    importable: Callable[[str], bool] = is_importable,
    probe: Probe = run_probe,
    machine: Callable[[], Machine] = this_machine,
) -> Diagnosis:
    """Look at everything. Raises nothing for what is missing or broken: that is the result."""
    packages = find_packages(version_of)
    installed = {finding.package.name for finding in packages if finding.version is not None}
    libraries = [name for name, owners in _LIBRARIES.items() if installed.intersection(owners) or importable(name)]
    with ThreadPoolExecutor() as pool:
        results = {result.name: result for result in pool.map(probe, ["driver", *libraries])}
    unfit = {f.package.name: f"{f.package.name} {f.version} ({f.problem})" for f in packages if f.problem}
    needs = needs_of_commands(tuple(finding.package for finding in packages))
    return Diagnosis(
        machine=machine(),
        packages=packages,
        probes=results,
        problems=(*unfit.values(), *conflicts(version_of), *_broken(results)),
        commands=readiness(_abilities(packages, results), needs, {**unfit, **_unfit_abilities(unfit)}),
        warnings=_warnings(results),
    )


def _warnings(results: Mapping[str, ProbeResult]) -> tuple[str, ...]:
    """By release and GPU alone: what is in the graphs is not known here."""
    version = results["tensorrt"].answer.get("version", "") if "tensorrt" in results else ""
    capabilities = tuple(dict.fromkeys(gpu["compute_capability"] for gpu in results["driver"].answer.get("gpus", ())))
    if not capabilities:
        return ()
    return warnings_for(Stack(tensorrt=version, capabilities=capabilities))


def _abilities(packages: tuple[Finding, ...], results: Mapping[str, ProbeResult]) -> set[str]:
    abilities = {finding.package.name for finding in packages if finding.usable}
    unfit = {finding.package.name for finding in packages if finding.problem}
    for library, ability in _ABILITIES.items():
        if library in results and results[library].works and not unfit.intersection(_LIBRARIES[library]):
            abilities.add(ability)
    if results["driver"].works and results["driver"].answer.get("gpus"):
        abilities.add(commands.GPU)
    return abilities


def _unfit_abilities(unfit: Mapping[str, str]) -> dict[str, str]:
    """Ability -> the release that would give it and cannot be used."""
    owned = ((ability, owner) for library, ability in _ABILITIES.items() for owner in _LIBRARIES[library])
    return {ability: unfit[owner] for ability, owner in owned if owner in unfit}


def _broken(results: Mapping[str, ProbeResult]) -> tuple[str, ...]:
    """What is here and does not load. A driver that is not there is no fault: a laptop has none."""
    return tuple(
        f"{name} is installed and does not load: {result.problem}"
        for name, result in results.items()
        if name != "driver" and result.problem
    )


def check_command(command: str) -> None:
    """Raises UsageError when there is no such command."""
    known = needs_of_commands(required_packages())
    if command not in known:
        raise UsageError(f"--for: expected one of {', '.join(known)}, got {command!r}")


def require_command(diagnosis: Diagnosis, command: str) -> None:
    """Raises EnvironmentLacks when the command cannot run here."""
    if lacks := diagnosis.command(command).lacks:
        raise EnvironmentLacks(f"ftsf {command} cannot run here: {'; '.join(lack.sentence() for lack in lacks)}")
