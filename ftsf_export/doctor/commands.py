"""For each command, what it needs, and whether this machine has it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from ftsf_export.doctor.packages import CORE, install_command

# What a machine can do, beside the usable packages, by name.
GPU = "a GPU with its driver"
ONNX_RUNTIME = "ONNX Runtime"
TENSORRT = "TensorRT"
TENSORRT_RTX = "TensorRT for RTX"

_MENDS = {
    GPU: "a machine with an NVIDIA GPU and driver",
    ONNX_RUNTIME: install_command("onnx"),
    TENSORRT: install_command("tensorrt"),
    TENSORRT_RTX: install_command("rtx"),
}


@dataclass(frozen=True)
class Need:
    """One thing that a command needs: all items of any one of the ways. ``mend`` says how to get it.

    ``purpose`` is the part of the work that needs it; empty: the whole command does.
    """

    ways: tuple[tuple[str, ...], ...]
    mend: str
    purpose: str = ""

    def met(self, abilities: Set[str]) -> bool:
        return any(set(way) <= abilities for way in self.ways)

    def missing(self, abilities: Set[str]) -> list[str]:
        """What the way that lacks least lacks."""
        lacking = [[item for item in way if item not in abilities] for way in self.ways]
        return min(lacking, key=lambda items: len(items))


@dataclass(frozen=True)
class Lack:
    """Items that are not here, one way to get them all, and the part of the work that needs them (empty: all of it)."""

    items: tuple[str, ...]
    mend: str
    purpose: str = ""

    def sentence(self) -> str:
        return f"{', '.join(self.items)}{f' {self.purpose}' if self.purpose else ''}: {self.mend}"


@dataclass(frozen=True)
class Readiness:
    """One command on this machine. ``lacks`` keeps it from running; ``limits`` only from a part of its work."""

    command: str
    lacks: tuple[Lack, ...]
    limits: tuple[Lack, ...]

    @property
    def ready(self) -> bool:
        return not self.lacks


@dataclass(frozen=True)
class Requirements:
    """What one command needs."""

    command: str
    needs: tuple[Need, ...] = field(default=())


def _packages(*names: str, extra: str, purpose: str = "") -> tuple[Need, ...]:
    return tuple(Need(((name,),), install_command(extra), purpose) for name in names)


_CORE = _packages("numpy", "click", "rich", "polygraphy", extra=CORE)
_ONNX = (
    *_packages("onnx", "onnx-ir", "ml_dtypes", extra="onnx"),
    Need(((ONNX_RUNTIME,),), _MENDS[ONNX_RUNTIME]),
)
_TORCH = _packages("torch", "einops", "safetensors", "onnxscript", "jinja2", extra="export")
_BUILDER_WAYS = ((TENSORRT_RTX,), (TENSORRT, GPU))
_BUILDER_MEND = f"{_MENDS[TENSORRT_RTX]}, or on a machine with a GPU {_MENDS[TENSORRT]}"
_ENGINE_WAYS = ((TENSORRT, GPU), (TENSORRT_RTX, GPU))
_ENGINE_MEND = f"{_MENDS[GPU]}, with {_MENDS[TENSORRT]} or {_MENDS[TENSORRT_RTX]}"

REQUIREMENTS = (
    Requirements(
        "export",
        (
            *_CORE,
            *_TORCH,
            *_ONNX,
            Need(_BUILDER_WAYS, _BUILDER_MEND, "to build an engine (without it: --builder none)"),
            *_packages("av", "pillow", extra="video", purpose="to read a --video"),
        ),
    ),
    Requirements(
        "verify",
        (
            *_CORE,
            Need((("onnx", ONNX_RUNTIME), *_ENGINE_WAYS), _MENDS[ONNX_RUNTIME]),
            *_packages("onnx-ir", "ml_dtypes", extra="onnx", purpose="to judge an fp16 or bf16 graph"),
            Need(_ENGINE_WAYS, _ENGINE_MEND, "to judge an engine"),
        ),
    ),
    Requirements("build", (*_CORE, Need(_BUILDER_WAYS, _BUILDER_MEND))),
    Requirements("plan", (*_CORE, Need(_BUILDER_WAYS, _BUILDER_MEND))),
    Requirements(
        "bench",
        (
            *_CORE,
            Need(((ONNX_RUNTIME,), *_ENGINE_WAYS), _MENDS[ONNX_RUNTIME]),
            Need(_ENGINE_WAYS, _ENGINE_MEND, "to measure an engine"),
            *_packages("nvidia-ml-py", extra="nvml", purpose="to read the GPU's clocks, temperature and memory"),
        ),
    ),
    Requirements("info", _CORE),
    Requirements("doctor", _CORE),
)


def readiness(abilities: Set[str], requirements: tuple[Requirements, ...] = REQUIREMENTS) -> tuple[Readiness, ...]:
    """Each command against what this machine can do: the names of usable packages, and the names above."""
    return tuple(_readiness(abilities, one) for one in requirements)


def _readiness(abilities: Set[str], requirements: Requirements) -> Readiness:
    unmet = [need for need in requirements.needs if not need.met(abilities)]
    return Readiness(
        requirements.command,
        lacks=_lacks(abilities, [need for need in unmet if not need.purpose]),
        limits=_lacks(abilities, [need for need in unmet if need.purpose]),
    )


def _lacks(abilities: Set[str], needs: list[Need]) -> tuple[Lack, ...]:
    """Packages that the same extra brings, for the same purpose, are one lack."""
    groups: dict[tuple[str, str], list[str]] = {}
    for need in needs:
        groups.setdefault((need.mend, need.purpose), []).extend(need.missing(abilities))
    return tuple(Lack(tuple(items), mend, purpose) for (mend, purpose), items in groups.items())
