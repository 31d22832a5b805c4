"""The precisions that a graph can have: a row each. What differs from one to the next is asked here.

Sources: N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 2.1 (unit roundoff); NVIDIA's TensorRT
support matrix (compute capabilities). What ONNX Runtime does on a CPU was tried; see ``graph.emulate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from fast_timesformer.rules import choice
from ftsf_export.errors import ConfigError


class OnCpu(Enum):
    """What ONNX Runtime's CPU provider does with a graph in a precision."""

    COMPUTES = "computes in it"
    WIDENS = "loads it, and computes in FP32"
    REFUSES = "does not load it"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a graph may differ from eager PyTorch in FP32, and what a machine without a GPU can say of it."""

    rel_l2: float  #: Limit of the relative L2 error of the logits and of every tap, in the worst clip; no unit.
    #: Share of the held-out clips, from 0 to 1, whose best class must stay. Trained models are sure of most clips;
    #: those in doubt between two classes may fall either way once the scores are rounded, the more the fewer bits there
    #: are.
    least_top1: float
    on_cpu: OnCpu  #: What ONNX Runtime does with it on a CPU.


@dataclass(frozen=True, kw_only=True)
class Precision:
    """One precision."""

    name: str  #: What ``--precision`` takes, and what every value of ours is called by.
    element: str  #: The element type by its name in NumPy or ml_dtypes.
    onnx: str  #: The element type by its name in ONNX (``onnx_ir.DataType``).
    engine: str  #: The element type by its name in TensorRT (``tensorrt.DataType``).
    bits: int  #: Width of an element, in bits.
    unit_roundoff: float  #: Largest relative error of rounding to the type; for int8 relative to the largest number.
    since: str  #: Least compute capability of a GPU whose arithmetic knows it ("8.9").
    proof: Proof | None = None  #: How a graph in it is judged; None while no stage makes one.
    compiled: bool = True  #: Whether engines are made in it; otherwise graphs for ONNX Runtime on a CPU alone.

    @property
    def is_half(self) -> bool:
        """Whether it is a float of 16 bits, which every tensor outside the FP32 islands takes."""
        return self.bits == 16

    @property
    def tie(self) -> float:
        """Two scores closer than this share of the largest are a tie that the type does not resolve.

        In 8 bits the errors of all products add up: what the limit on the logits allows is a tie.
        """
        return 4 * self.unit_roundoff if self.proof is None or self.bits > 8 else self.proof.rel_l2

    @property
    def emulated(self) -> bool:
        """Whether a CPU judges a stand-in: the graph in FP32 with every tensor rounded to the type."""
        return self.judged.on_cpu is not OnCpu.COMPUTES

    @property
    def judged(self) -> Proof:
        """How a graph in it is judged. Raises ConfigError while no stage makes one."""
        if self.proof is None:
            raise ConfigError([f"precision: {self.lacking}"])
        return self.proof

    @property
    def lacking(self) -> str:
        """Why nobody can have a graph in it; "" where a stage makes one."""
        return "" if self.proof is not None else f"this version makes {', '.join(offered())}, not {self.name}"


_SINCE_FIRST = "7.5"
FP32 = Precision(
    name="fp32", element="float32", onnx="FLOAT", engine="FLOAT", bits=32, unit_roundoff=2.0**-24, since=_SINCE_FIRST,
    proof=Proof(rel_l2=1e-5, least_top1=0.998, on_cpu=OnCpu.COMPUTES),
)  # fmt: skip
FP16 = Precision(
    name="fp16", element="float16", onnx="FLOAT16", engine="HALF", bits=16, unit_roundoff=2.0**-11, since=_SINCE_FIRST,
    proof=Proof(rel_l2=1e-2, least_top1=0.99, on_cpu=OnCpu.WIDENS),
)  # fmt: skip
BF16 = Precision(
    name="bf16", element="bfloat16", onnx="BFLOAT16", engine="BF16", bits=16, unit_roundoff=2.0**-8, since="8.0",
    proof=Proof(rel_l2=5e-2, least_top1=0.97, on_cpu=OnCpu.REFUSES),
)  # fmt: skip
# Weights that were drawn are the hard case: 0.1 to 0.2 on noise at the documented size.
INT8 = Precision(
    name="int8", element="int8", onnx="INT8", engine="INT8", bits=8, unit_roundoff=0.5 / 127, since=_SINCE_FIRST,
    proof=Proof(rel_l2=0.3, least_top1=0.99, on_cpu=OnCpu.COMPUTES), compiled=False,
)  # fmt: skip
FP8 = Precision(
    name="fp8", element="float8_e4m3fn", onnx="FLOAT8E4M3FN", engine="FP8", bits=8, unit_roundoff=2.0**-4, since="8.9"
)
PRECISIONS: dict[str, Precision] = {one.name: one for one in (FP32, FP16, BF16, INT8, FP8)}
HALVES = tuple(name for name, one in PRECISIONS.items() if one.is_half)


def offered() -> tuple[str, ...]:
    """Names of those that a stage makes; the others are known, so that a target can say whether it has them."""
    return tuple(name for name, one in PRECISIONS.items() if one.proof is not None)


# The name of a precision that a graph can have, as a field of a file in which no other text may stand.
PrecisionName = Annotated[str, choice(*offered())]


def precision_named(name: str) -> Precision:
    """The row of that name. Raises ConfigError with the names that there are."""
    if name not in PRECISIONS:
        raise ConfigError([f"precision: expected one of {', '.join(PRECISIONS)}, got {name!r}"])
    return PRECISIONS[name]
