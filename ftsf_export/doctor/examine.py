"""Look at this machine: packages, driver, GPUs, libraries that really load, and what each command lacks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ftsf_export.doctor import commands
from ftsf_export.doctor.commands import Readiness, readiness
from ftsf_export.doctor.machine import Machine, this_machine
from ftsf_export.doctor.packages import Finding, advice, conflicts, find_packages

_PROBES_FILE = Path(__file__).with_name("probes.py")
_PROBE_TIMEOUT_S = 60.0

# Library (module) -> the distributions that bring it. JetPack and conda bring some without a distribution's metadata.
_LIBRARIES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
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
    """What one library answered in a process of its own. ``problem`` is empty when it works."""

    name: str
    problem: str
    answer: Mapping[str, Any]

    @property
    def works(self) -> bool:
        return not self.problem


@dataclass(frozen=True)
class Diagnosis:
    """Everything that doctor found. ``problems`` are faults to mend, not things that merely are not there."""

    machine: Machine
    packages: tuple[Finding, ...]
    probes: Mapping[str, ProbeResult]
    problems: tuple[str, ...]
    commands: tuple[Readiness, ...]

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
                    "install": advice(f, self.packages),
                }
                for f in self.packages
            ],
            "libraries": {name: {"problem": p.problem, **p.answer} for name, p in self.probes.items()},
            "problems": list(self.problems),
            "commands": [{**asdict(c), "ready": c.ready} for c in self.commands],
        }


def run_probe(name: str) -> ProbeResult:
    """Ask one library in a process of its own, which may abort or hang without harm to this one."""
    try:
        done = subprocess.run(
            [sys.executable, str(_PROBES_FILE), name],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ProbeResult(name, f"gave no answer in {_PROBE_TIMEOUT_S:.0f} s", {})
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return ProbeResult(name, f"its process ended with status {done.returncode}: {last}", {})
    answer = json.loads(lines[-1])
    return ProbeResult(name, answer.pop("problem"), answer)


def is_importable(module: str) -> bool:
    """Whether Python finds the module; it is not imported."""
    return find_spec(module) is not None


def examine(
    *,
    find: Callable[[], tuple[Finding, ...]] = find_packages,
    importable: Callable[[str], bool] = is_importable,
    probe: Probe = run_probe,
    machine: Callable[[], Machine] = this_machine,
) -> Diagnosis:
    """Look at everything. Raises nothing for what is missing or broken: that is the result."""
    packages = find()
    installed = {finding.package.name for finding in packages if finding.version is not None}
    libraries = [name for name, owners in _LIBRARIES.items() if installed.intersection(owners) or importable(name)]
    with ThreadPoolExecutor() as pool:
        results = {result.name: result for result in pool.map(probe, ["driver", *libraries])}
    return Diagnosis(
        machine=machine(),
        packages=packages,
        probes=results,
        problems=_problems(packages, results),
        commands=readiness(_abilities(packages, results)),
    )


def _abilities(packages: tuple[Finding, ...], results: Mapping[str, ProbeResult]) -> set[str]:
    abilities = {finding.package.name for finding in packages if finding.usable}
    unfit = {finding.package.name for finding in packages if finding.problem}
    for library, ability in _ABILITIES.items():
        if library in results and results[library].works and not unfit.intersection(_LIBRARIES[library]):
            abilities.add(ability)
    if results["driver"].works and results["driver"].answer.get("gpus"):
        abilities.add(commands.GPU)
    return abilities


def _problems(packages: tuple[Finding, ...], results: Mapping[str, ProbeResult]) -> tuple[str, ...]:
    """What is here and does not work. A driver that is not there is no fault: a laptop has none."""
    return (
        *(f"{f.package.name} {f.version}: {f.problem}" for f in packages if f.problem),
        *conflicts(packages),
        *(
            f"{name} is installed and does not load: {r.problem}"
            for name, r in results.items()
            if name != "driver" and r.problem
        ),
    )
