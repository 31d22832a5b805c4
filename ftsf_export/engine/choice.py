"""Which builder makes which engine, here and now: a function of what was asked and what there is to build with."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from ftsf_export.bundle import ENGINES_FOLDER
from ftsf_export.config import BUILDERS
from ftsf_export.engine.targets import DEFAULT_RTX_TARGET, Target, target_named, target_of_capability
from ftsf_export.errors import EnvironmentLacks, UsageError
from ftsf_export.runners.driver import first_gpu
from ftsf_export.runners.flavour import MODULES, RTX_MACHINES


@dataclass(frozen=True)
class BuildTools:
    """What can compile on one machine."""

    gpu_capability: str | None  #: Compute capability of the first GPU ("8.6"); None without a usable driver and GPU.
    rtx_installed: bool  #: Whether TensorRT for RTX is there.
    tensorrt_installed: bool  #: Whether TensorRT is there.
    machine: str = field(default_factory=platform.machine)  #: Its processor's architecture, as in "x86_64".

    @property
    def extra(self) -> str:
        """The extra that brings a compiler: TensorRT for RTX, which needs no GPU, where it has a package."""
        return "rtx" if self.machine in RTX_MACHINES else "tensorrt"


def build_tools_here() -> BuildTools:
    """Those of this machine; neither compiler is imported."""
    gpu = first_gpu()
    return BuildTools(
        gpu_capability=None if gpu is None else gpu.capability,
        rtx_installed=find_spec(MODULES["rtx"]) is not None,
        tensorrt_installed=find_spec(MODULES["tensorrt"]) is not None,
    )


@dataclass(frozen=True)
class EngineToBuild:
    """One engine to build here."""

    builder: str  #: "rtx" or "tensorrt".
    target: Target  #: What it is built for.

    def stem(self, precision: str) -> str:
        """Path in the bundle of the engine and of its sidecar, without their endings."""
        return f"{ENGINES_FOLDER}/{self.builder}-{self.target.name}-{precision}"


@dataclass(frozen=True)
class Deferred:
    """An engine that can only be built elsewhere."""

    target: Target  #: What it is for.
    reason: str  #: Why it is not built here, in words.

    def command(self, bundle: str) -> str:
        """What to type where it can be built: on the machine itself, unless only TensorRT for RTX covers the target."""
        return f"ftsf build {bundle} --builder {self.target.builders[-1]} --target {self.target.name}"


@dataclass(frozen=True)
class BuildPlanChoice:
    """What becomes of the targets that were asked for."""

    to_build: tuple[EngineToBuild, ...]  #: The engines that are built here.
    deferred: tuple[Deferred, ...] = ()  #: Those that are left for another machine.


def resolve(builder: str, targets: Sequence[str], precision: str, tools: BuildTools | None = None) -> BuildPlanChoice:
    """Decide what to build. Cheap and free of side effects: it is asked before an export, not after it.

    Args:
        builder: auto, rtx, tensorrt or none.
        targets: names; none means the present GPU for TensorRT, ``rtx`` for TensorRT for RTX.
        precision: of the graph.
        tools: what there is to build with; None: what is here.

    Raises UsageError for a pair that cannot be (exit 2), EnvironmentLacks for what is not installed (exit 3).
    """
    if builder not in BUILDERS:
        raise UsageError(f"builder: expected one of {', '.join(BUILDERS)}, got {builder!r}")
    tools = tools or build_tools_here()
    wanted = [target_named(name) for name in targets] or _usual(builder, tools)
    if problems := [problem for target in wanted if (problem := target.precision_problem(precision))]:
        raise UsageError("; ".join(problems))
    if builder == "none":
        return BuildPlanChoice((), tuple(Deferred(target, "builder none was asked for") for target in wanted))
    return {"rtx": _with_rtx, "tensorrt": _with_tensorrt, "auto": _with_either}[builder](wanted, tools)


def _usual(builder: str, tools: BuildTools) -> list[Target]:
    """What is built where no target was asked for: for the GPU that is here, where TensorRT is to use it."""
    if builder == "none":
        return []
    if tools.gpu_capability is not None and (builder == "tensorrt" or (builder == "auto" and tools.tensorrt_installed)):
        return [target_of_capability(tools.gpu_capability)]
    return [] if builder == "tensorrt" else [target_named(DEFAULT_RTX_TARGET)]


def _with_rtx(wanted: list[Target], tools: BuildTools) -> BuildPlanChoice:
    problems = [
        f"target {t.name} with builder rtx: {problem}; possible: --builder auto (a bundle without this engine), "
        f"then on the machine itself --builder tensorrt --target {t.name}"
        for t in wanted
        if (problem := t.rtx_problem())
    ]
    if problems:
        raise UsageError("; ".join(problems))
    if not tools.rtx_installed and tools.extra != "rtx":
        raise EnvironmentLacks(
            f"builder rtx: TensorRT for RTX has no package for {tools.machine}; run this on an x86-64 machine, or "
            "build on the GPU itself with --builder tensorrt"
        )
    if not tools.rtx_installed:
        raise EnvironmentLacks("builder rtx: the package tensorrt_rtx is not installed", extra="rtx")
    return BuildPlanChoice(tuple(EngineToBuild("rtx", target) for target in wanted))


def _with_tensorrt(wanted: list[Target], tools: BuildTools) -> BuildPlanChoice:
    for target in wanted:
        if "tensorrt" not in target.builders:
            raise UsageError(
                f"target {target.name} with builder tensorrt: TensorRT builds for the one GPU that it runs on, this "
                f"target covers {', '.join(target.capabilities)}; possible: --builder rtx"
            )
    if not tools.tensorrt_installed:
        raise EnvironmentLacks("builder tensorrt: the package tensorrt is not installed", extra="tensorrt")
    if tools.gpu_capability is None:
        raise EnvironmentLacks(
            "builder tensorrt: TensorRT builds on the GPU that will run the engine, and no GPU was found; "
            "run it there, or build for an RTX GPU with --builder rtx, which needs none"
        )
    for target in wanted:
        if target.capabilities != (tools.gpu_capability,):
            raise UsageError(
                f"target {target.name} with builder tensorrt: TensorRT builds for the GPU that it runs on: expected "
                f"compute capability {target.capabilities[0]}, this machine has {tools.gpu_capability}; "
                "run the same command on the target"
            )
    return BuildPlanChoice(tuple(EngineToBuild("tensorrt", target) for target in wanted))


def _with_either(wanted: list[Target], tools: BuildTools) -> BuildPlanChoice:
    """TensorRT for what it can build here, else TensorRT for RTX, else leave it to the machine itself."""
    to_build: list[EngineToBuild] = []
    deferred: list[Deferred] = []
    for target in wanted:
        if tools.tensorrt_installed and target.capabilities == (tools.gpu_capability,):
            to_build.append(EngineToBuild("tensorrt", target))
        elif problem := target.rtx_problem():
            deferred.append(Deferred(target, problem))
        elif tools.rtx_installed:
            to_build.append(EngineToBuild("rtx", target))
        else:
            raise EnvironmentLacks(
                f"target {target.name}: no builder: neither tensorrt with a GPU nor tensorrt_rtx is here "
                "(--builder none writes the bundle without an engine)",
                extra=tools.extra,
            )
    return BuildPlanChoice(tuple(to_build), tuple(deferred))
