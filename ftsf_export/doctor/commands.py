"""What each command needs, and whether this machine has it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, replace
from functools import partial

from ftsf_export.doctor.packages import CORE, ONNX_RUNTIMES, RUNS_GRAPHS, Package
from ftsf_export.errors import install_command
from ftsf_export.jetson import jetson
from ftsf_export.precision import BF16, HALVES

# What a machine can do, beside the usable packages, by name.
GPU = "a GPU with its driver"
ONNX_RUNTIME = "ONNX Runtime"
TENSORRT = "TensorRT"
TENSORRT_RTX = "TensorRT for RTX"

_GPU_MEND = "a machine with an NVIDIA GPU and driver"


@dataclass(frozen=True)
class Need:
    """One thing that a command needs: all items of any one of the ways."""

    ways: tuple[tuple[str, ...], ...]  #: Names of packages, and of the abilities above.
    mend: str  #: How to get it, as the end of a sentence.
    purpose: str = ""  #: The part of the work that needs it; empty when the whole command does.

    def met(self, abilities: Set[str]) -> bool:
        """Whether all items of one way are there."""
        return any(set(way) <= abilities for way in self.ways)

    def missing(self, abilities: Set[str]) -> list[str]:
        """What the way that lacks least lacks."""
        lacking = [[item for item in way if item not in abilities] for way in self.ways]
        return min(lacking, key=lambda items: len(items))


@dataclass(frozen=True)
class Lack:
    """What is not here, with one way to get all of it."""

    items: tuple[str, ...]  #: Names of packages and abilities, or the release that is here and cannot be used.
    mend: str  #: How to get them all, as the end of a sentence.
    purpose: str = ""  #: The part of the work that needs them; empty when the whole command does.

    def sentence(self) -> str:
        """Items, purpose and mend, as the end of a sentence."""
        return f"{', '.join(self.items)}{f' {self.purpose}' if self.purpose else ''}: {self.mend}"


@dataclass(frozen=True)
class Readiness:
    """One command on this machine."""

    command: str  #: Name of the command.
    lacks: tuple[Lack, ...]  #: What keeps it from running.
    limits: tuple[Lack, ...]  #: What keeps it only from a part of its work.

    @property
    def ready(self) -> bool:
        """Whether the command can run, if only for a part of its work."""
        return not self.lacks


def _compilers(packages: tuple[Package, ...]) -> tuple[Need, Need]:
    """What building an engine needs, and what running one does. TensorRT for RTX counts where it has a package."""
    tensorrt = install_command("tensorrt")
    if not any(package.extra == "rtx" for package in packages):
        need = Need(((TENSORRT, GPU),), f"{_GPU_MEND}, with {tensorrt}")
        return need, need
    rtx = install_command("rtx")
    builder = Need(((TENSORRT_RTX,), (TENSORRT, GPU)), f"{rtx}, or on a machine with a GPU {tensorrt}")
    return builder, Need(((TENSORRT, GPU), (TENSORRT_RTX, GPU)), f"{_GPU_MEND}, with {tensorrt} or {rtx}")


def needs_of_commands(packages: tuple[Package, ...]) -> dict[str, tuple[Need, ...]]:
    """Command -> what it needs, the packages of an extra as setup.py lists them."""
    of = partial(_needs_of, packages)
    builder, engine = _compilers(packages)
    runtime = Need(((ONNX_RUNTIME,),), install_command("onnx"))
    core = of(CORE)
    return {
        "export": (
            *core,
            *of("export"),
            *of("onnx"),
            runtime,
            replace(builder, purpose="to build an engine (without it: --builder none)"),
            *of("video", "to read a --video"),
        ),
        "verify": (
            *core,
            replace(runtime, ways=(("onnx", ONNX_RUNTIME), *engine.ways)),
            *of("onnx", f"to judge an {' or '.join(HALVES)} graph", but=RUNS_GRAPHS),
            replace(engine, purpose="to judge an engine"),
        ),
        "build": (*core, builder),
        "plan": (*core, builder),
        "bench": (
            *core,
            replace(runtime, ways=((ONNX_RUNTIME,), *engine.ways)),
            replace(engine, purpose="to measure an engine"),
            # A Jetson's kernel tells them without NVML.
            *(of("nvml", "to read the GPU's clocks, temperature and memory") if jetson() is None else ()),
        ),
        "sweep": (
            *core,
            *of("export"),
            *of("onnx"),
            runtime,
            replace(builder, purpose="to compile for the plans"),
            *of("video", "to read videos"),
        ),
        "predict": (
            *core,
            *of("video"),
            replace(runtime, ways=((ONNX_RUNTIME,), *engine.ways)),
            *of("onnx", f"to run a {BF16.name} graph without a GPU", but=RUNS_GRAPHS),
            replace(engine, purpose="to run an engine"),
        ),
        "finetune": (
            *core,
            *of("export", but={"onnxscript", "jinja2"}),
            *of("video"),
            *of("onnx", "to export what --demo trained"),
        ),
        "targets": core,
        "info": core,
        "doctor": core,
    }


def _needs_of(
    packages: tuple[Package, ...], extra: str, purpose: str = "", *, but: Collection[str] = ()
) -> tuple[Need, ...]:
    """The packages of an extra, each a need; ONNX Runtime under either name is an ability instead."""
    return tuple(
        Need(((package.name,),), install_command(extra), purpose)
        for package in packages
        if package.extra == extra and package.name not in {*but, *ONNX_RUNTIMES}
    )


def readiness(
    abilities: Set[str], needs: Mapping[str, tuple[Need, ...]], unfit: Mapping[str, str] | None = None
) -> tuple[Readiness, ...]:
    """Each command against what this machine can do: the names of usable packages, and the names above.

    ``unfit``: for an item that is here in a release that cannot be used, that release and the expected ones.
    """
    out = []
    for command, some in needs.items():
        unmet = [need for need in some if not need.met(abilities)]
        lacks, limits = ([need for need in unmet if bool(need.purpose) is part] for part in (False, True))
        out.append(Readiness(command, _lacks(abilities, lacks, unfit or {}), _lacks(abilities, limits, unfit or {})))
    return tuple(out)


def _lacks(abilities: Set[str], needs: list[Need], unfit: Mapping[str, str]) -> tuple[Lack, ...]:
    """Packages that the same extra brings, for the same purpose, are one lack."""
    groups: dict[tuple[str, str], list[str]] = {}
    for need in needs:
        items = groups.setdefault((need.mend, need.purpose), [])
        items.extend(unfit.get(item, item) for item in need.missing(abilities))
    return tuple(Lack(tuple(items), mend, purpose) for (mend, purpose), items in groups.items())
