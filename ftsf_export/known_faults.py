"""Faults of TensorRT that others have met with graphs like ours: the release, the GPU, and what is in the graph.

Each row has the issue that it is from, and says no more than that issue. Releases and GPUs are those of the reports;
where an issue is open that was met in the newest release of its day, later ones count as well. A row is a warning and
no verdict: what an engine computes, its parity gate says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_TENSORRT = "https://github.com/NVIDIA/TensorRT/issues/"
_PROVE = "prove the engine on that GPU with ftsf verify before it is used"
_FP32 = "export again with --precision fp32, which has no fused attention"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What runs an engine, and what of its graph matters to the table."""

    tensorrt: str  #: The release of TensorRT proper that built it, as in "10.3.0"; not that of TensorRT for RTX.
    capabilities: tuple[str, ...]  #: Compute capabilities that it is for ("8.7").
    softmax: bool = True  #: Whether its attentions are of softmax.
    half: bool = True  #: Whether it is in half precision.
    operator: bool = True  #: Whether attentions are nodes of the ONNX operator ``Attention``.
    #: Whether products with a single row follow each other, as in additive attention.
    single_rows: bool = True
    score_matrices: int = 1 << 62  #: Batch x heads of its largest attention at its largest batch.


@dataclass(frozen=True, kw_only=True)
class KnownFault:
    """A row of the table."""

    what: str  #: What has been seen.
    issue: str  #: Where.
    since: str  #: The first release that the reports speak of.
    before: str = ""  #: The first one after it of which they do not; "" where later ones count as well.
    capabilities: tuple[str, ...] = ()  #: Where it was seen; none: it was not said, or everywhere.
    met: Callable[[Stack], bool]  #: Whether a graph has what it takes.
    mend: str  #: What to do.

    def holds(self, stack: Stack) -> bool:
        release = _release(stack.tensorrt)
        within = _release(self.since) <= release and not (self.before and _release(self.before) <= release)
        here = not self.capabilities or set(self.capabilities).intersection(stack.capabilities)
        return bool(within and here and self.met(stack))

    def sentence(self, stack: Stack) -> str:
        where = ", ".join(c for c in stack.capabilities if not self.capabilities or c in self.capabilities)
        return f"TensorRT {stack.tensorrt}, compute capability {where}: {self.what} ({self.issue}); {self.mend}"


def warnings_for(stack: Stack) -> tuple[str, ...]:
    """One sentence for each row that meets ``stack``; none for a release that cannot be read."""
    if not _release(stack.tensorrt):
        return ()
    return tuple(row.sentence(stack) for row in KNOWN_FAULTS if row.holds(stack))


def _release(text: str) -> tuple[int, ...]:
    """10.16.1 as (10, 16, 1); as far as it is numbers."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


KNOWN_FAULTS = (
    KnownFault(
        what="fused softmax attention in half precision has come out wrong without an error, in a vision transformer",
        issue=f"{_TENSORRT}4837",
        since="10",
        capabilities=("12.0",),
        met=lambda stack: stack.softmax and stack.half,
        mend=f"{_PROVE}; should it fail, {_FP32}",
    ),
    KnownFault(
        what="vision transformers with rotary positions have come out wrong, in FP32 and in half precision",
        issue=f"{_TENSORRT}4558, {_TENSORRT}4723",
        since="10.3",
        before="10.4",
        capabilities=("8.7",),
        met=lambda stack: stack.softmax,
        mend=f"{_PROVE}; should it fail, a newer JetPack brings a newer TensorRT",
    ),
    KnownFault(
        what="a vision transformer with rotary positions has come out wrong in FP32, and as NaN in half precision",
        issue=f"{_TENSORRT}4742",
        since="10.4",
        before="10.5",
        capabilities=("8.6",),
        met=lambda stack: stack.softmax,
        mend=f"{_PROVE}; should it fail, use a newer TensorRT",
    ),
    KnownFault(
        what="attention that scales queries and keys each by the root has come out wrong, in FP32 as well",
        issue=f"{_TENSORRT}4333",
        since="10.7",
        before="10.8",
        capabilities=("8.9",),
        met=lambda stack: stack.softmax,
        mend=f"{_PROVE}; should it fail, use a newer TensorRT",
    ),
    KnownFault(
        what="attentions of the operator Attention have come out wrong",
        issue=f"{_TENSORRT}4732",
        since="10.16",
        capabilities=("8.6",),
        met=lambda stack: stack.operator,
        mend=f"{_PROVE}; should it fail, export again with --opset 20, which writes attention out",
    ),
    KnownFault(
        what="the fused attention kernel _gemm_mha_v2 gives other outputs than PyTorch in FP16",
        issue=f"{_TENSORRT}3777",
        since="10.0.0",
        before="10.0.1",
        met=lambda stack: stack.softmax and stack.half,
        mend="use TensorRT 10.0.1 or newer, where it is mended",
    ),
    KnownFault(
        what="products with a single row that follow each other lose accuracy at batch 1",
        issue=f"{_TENSORRT}3969",
        since="10.0.1",
        before="10.2",
        met=lambda stack: stack.single_rows,
        mend=f"{_PROVE}; should it fail, use a newer TensorRT, or build with --batch 2",
    ),
    KnownFault(
        what="attention was no longer fused at 81,920 batch x heads where it was at 40,960: slower, not wrong",
        issue=f"{_TENSORRT}3665",
        since="9.2",
        capabilities=("8.0",),
        met=lambda stack: stack.softmax and stack.half and stack.score_matrices > 40_960,
        mend="see what became of the largest batch with ftsf plan, and build with a smaller one should it be lost",
    ),
)
