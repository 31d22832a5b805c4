"""The machines that an engine is built for, in one table: what each can compute, and what its software knows.

Sources: compute capabilities, https://developer.nvidia.com/cuda-gpus; the TensorRT of each
JetPack, NVIDIA's TensorRT support matrix and JetPack release notes; what TensorRT for RTX compiles ahead of
time, measured with version 1.7.1 (``trt.ComputeCapability``); the ``Attention`` operator, parser release 10.14.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ftsf_export.config import OPSET_ATTENTION, OPSET_DECOMPOSED
from ftsf_export.errors import UsageError, did_you_mean
from ftsf_export.precision import PRECISIONS, offered, precision_named

# Compute capabilities of the GPUs that we know. ``precision.PRECISIONS`` says what each computes in.
CAPABILITIES = ("7.5", "8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1")
# What TensorRT for RTX compiles for on any x86-64 machine, with no GPU. It lists 7.5 too, but refuses most of our
# FP16 graphs there, and a refusal for one capability takes the whole engine with it: so 7.5 is not offered.
RTX_AHEAD_OF_TIME = ("8.0", "8.6", "8.9", "12.0", "12.1")
# The first TensorRT whose ONNX parser knows the ``Attention`` operator (opset 23).
ATTENTION_SINCE = (10, 14)
# What a graph for no machine in particular is compiled for, to read its plan.
USUAL_TARGET = "rtx-30"
COMPILERS = ("rtx", "tensorrt")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One machine, or one family of them."""

    name: str  #: What ``--target`` takes.
    title: str  #: The machine in words.
    capabilities: tuple[str, ...]  #: Compute capabilities that one engine must cover ("8.6").
    #: The TensorRT that the machine's software ships, where the user has no choice ("10.3"); else "".
    tensorrt: str = ""
    arm: bool = False  #: An Arm system on chip, for which TensorRT for RTX has no runtime.

    @property
    def precisions(self) -> tuple[str, ...]:
        """What every one of its GPUs computes in, by its hardware alone."""
        return tuple(
            name
            for name, precision in PRECISIONS.items()
            if float(precision.since) <= min(map(float, self.capabilities))
        )

    @property
    def offered_precisions(self) -> tuple[str, ...]:
        """Those of them that an export can make an engine in."""
        return tuple(name for name in self.precisions if name in offered() and PRECISIONS[name].compiled)

    @property
    def is_capability(self) -> bool:
        """Whether it stands for a compute capability and for no machine in particular."""
        return self.name == _sm(self.capabilities[0])

    @property
    def tried(self) -> str:
        """How far this project has come with it, in words. No GPU has run anything of it yet."""
        return "neither built nor run" if self.rtx_problem() else "compiled, not run"

    @property
    def builders(self) -> tuple[str, ...]:
        """Which compilers can make an engine for it: rtx anywhere, tensorrt only on the machine itself."""
        if self.rtx_problem():
            return ("tensorrt",)
        return COMPILERS if len(self.capabilities) == 1 else ("rtx",)

    @property
    def attention_operator(self) -> bool:
        """Whether its compiler's parser knows the ONNX ``Attention`` operator."""
        return not self.tensorrt or tuple(int(part) for part in self.tensorrt.split(".")[:2]) >= ATTENTION_SINCE

    @property
    def default_opset(self) -> int:
        return OPSET_ATTENTION if self.attention_operator else OPSET_DECOMPOSED

    def rtx_problem(self) -> str:
        """Why TensorRT for RTX cannot make its engine; empty when it can."""
        if self.arm:
            return f"TensorRT for RTX does not run on {self.title}"
        missing = [c for c in self.capabilities if c not in RTX_AHEAD_OF_TIME]
        if missing == ["7.5"]:
            return "TensorRT for RTX refuses most FP16 transformer graphs on compute capability 7.5"
        if missing:
            return (
                f"TensorRT for RTX covers compute capability {', '.join(RTX_AHEAD_OF_TIME)}, not {', '.join(missing)}"
            )
        return ""

    def precision_problem(self, precision: str) -> str:
        """Why it cannot have an engine in ``precision``; empty when it can. Raises ConfigError for an unknown one."""
        row = precision_named(precision)
        if precision not in self.precisions:
            lacking = [c for c in self.capabilities if float(c) < float(row.since)]
            return (
                f"target {self.name}: compute capability {', '.join(lacking)} has no {precision}; "
                f"possible: {', '.join(self.offered_precisions)}"
            )
        if not row.compiled and not row.lacking:
            return (
                f"target {self.name}: this version makes no engines in {precision}, only graphs that ONNX Runtime runs "
                f"on a CPU (--builder none, without --target); possible: {', '.join(self.offered_precisions)}"
            )
        return f"target {self.name}: {row.lacking}" if row.lacking else ""


def _sm(capability: str) -> str:
    """8.6 as sm_86."""
    return f"sm_{capability.replace('.', '')}"


_NAMED = (
    # 8.6, 8.9 and 12.0 are the RTX generations that compile; 8.0 and 12.1 are datacenter and Arm parts.
    Target(name="rtx", title="any GeForce RTX 30, 40, 50, RTX A, Ada and PRO", capabilities=("8.6", "8.9", "12.0")),
    Target(name="rtx-30", title="GeForce RTX 30, RTX A (Ampere)", capabilities=("8.6",)),
    Target(name="rtx-40", title="GeForce RTX 40, RTX Ada", capabilities=("8.9",)),
    Target(name="rtx-50", title="GeForce RTX 50, RTX PRO Blackwell", capabilities=("12.0",)),
    Target(name="jetson-orin", title="Jetson Orin (JetPack 6)", capabilities=("8.7",), tensorrt="10.3", arm=True),
    Target(name="jetson-thor", title="Jetson Thor (JetPack 7)", capabilities=("11.0",), tensorrt="10.13", arm=True),
    Target(name="t4", title="T4", capabilities=("7.5",)),
    Target(name="a100", title="A100", capabilities=("8.0",)),
    Target(name="a10", title="A10", capabilities=("8.6",)),
    Target(name="l4", title="L4", capabilities=("8.9",)),
    Target(name="l40s", title="L40S", capabilities=("8.9",)),
    Target(name="h100", title="H100", capabilities=("9.0",)),
    Target(name="h200", title="H200", capabilities=("9.0",)),
    Target(name="b200", title="B200", capabilities=("10.0",)),
)
_ARM_ONLY = ("8.7", "11.0")
_BY_CAPABILITY = tuple(
    Target(name=_sm(c), title=f"compute capability {c}", capabilities=(c,), arm=c in _ARM_ONLY) for c in CAPABILITIES
)
TARGETS: dict[str, Target] = {target.name: target for target in (*_NAMED, *_BY_CAPABILITY)}
DEFAULT_RTX_TARGET = "rtx"


def target_named(name: str) -> Target:
    """The target of that name; spelling of sm86, SM_86 and 8.6 is forgiven.

    Raises UsageError with the valid names in the table's order, and the closest.
    """
    key = name.strip().lower()
    if match := re.fullmatch(r"(?:sm|compute)?_?(\d+)\.?(\d)", key):
        key = f"sm_{match[1]}{match[2]}"
    if key in TARGETS:
        return TARGETS[key]
    meant = did_you_mean(key, TARGETS)
    raise UsageError(f"target: expected one of {', '.join(TARGETS)} (see ftsf targets), got {name!r}{meant}")


def target_of_capability(capability: str) -> Target:
    """The target for a GPU of that compute capability, ``sm_86``. Raises UsageError for one that is not known."""
    return target_named(_sm(capability))


def stand_in(target: Target) -> Target:
    """What TensorRT for RTX compiles in place of ``target``: the target itself, or the nearest capability it covers."""
    if not target.rtx_problem():
        return target
    wanted = float(target.capabilities[0])
    return target_of_capability(min(RTX_AHEAD_OF_TIME, key=lambda capability: abs(float(capability) - wanted)))


def default_opset(targets: Iterable[str]) -> int:
    """The newest opset that the software of every target parses; with no target, what TensorRT for RTX parses."""
    return min((target_named(name).default_opset for name in targets), default=OPSET_ATTENTION)
