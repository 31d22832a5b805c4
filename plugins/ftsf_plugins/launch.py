"""How a kernel is started for given shapes: values that the tests, the compiler and the plugins share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ftsf_plugins.rotary import Pairs
from ftsf_plugins.stream import Stream, Strides

# Triton's names.
ElementType = Literal["fp16", "bf16", "fp32"]
ELEMENT_BYTES: Mapping[str, int] = {"fp16": 2, "bf16": 2, "fp32": 4}
WIDTHS = range(32, 129, 2)


def rotation_constants(axes: int, pairs: Pairs = "neighbours") -> dict[str, int]:
    """What a kernel must know of a ``Rotation`` of A = ``axes`` (0: none). Raises ValueError naming the wrong one."""
    if axes < 0:
        raise ValueError(f"axes: expected 0 or more, got {axes}")
    if pairs not in ("neighbours", "halves"):
        raise ValueError(f"pairs: expected 'neighbours' or 'halves', got {pairs!r}")
    return {"AXES": axes, "HALVES": int(pairs == "halves")}


@dataclass(frozen=True)
class Launch:
    """One kernel with its constants. Its arguments are the input tensors, the scalars and the output tensor."""

    kernel: str  #: The name of its function.
    inputs: tuple[str, ...]  #: Names of the input tensors, in order.
    scalars: tuple[str, ...]  #: Names of the 32-bit integers, in order.
    constants: Mapping[str, int | float]  #: Name -> value of each argument that it is compiled for.
    groups: int  #: Sequences that one program takes.
    columns: int  #: Columns of a head's values that one program takes.
    warps: int  #: Of one program.
    stages: int = 2  #: Loads that are under way at once, of Triton's software pipelining.
    most_registers: int = 255  #: What the assembler may give to a thread.
    queries: int = 0  #: Tokens of a sequence that one program asks for; 0: all of them.

    def parts(self, stream: Stream) -> int:
        """Programs that share a sequence's queries; they follow each other in the grid."""
        return -(-stream.attending // self.queries) if self.queries else 1

    def grid(self, stream: Stream, batch: int) -> tuple[int, int, int]:
        """Programs along sequences and their parts, heads, columns."""
        sequences = -(-batch * stream.groups // self.groups)
        return sequences * self.parts(stream), stream.heads, -(-stream.width // self.columns)


def scalar_values(
    launch: Launch,
    stream: Stream,
    batch: int,
    features: int = 0,
    qkv: Strides | None = None,
    out: Strides | None = None,
) -> dict[str, int]:
    """Values of ``launch.scalars``. ``features``: M, for FAVOR+; ``qkv``, ``out``: strides of tensors with gaps."""
    qkv = qkv or stream.strides(3 * stream.inner)
    out = out or stream.strides(stream.inner)
    known = {
        "sequences": batch * stream.groups,
        "groups": stream.groups,
        "tokens": stream.attending,
        "features": features,
        "qkv_batch_stride": qkv.batch,
        "qkv_group_stride": qkv.group,
        "qkv_token_stride": qkv.token,
        "out_batch_stride": out.batch,
        "out_group_stride": out.group,
        "out_token_stride": out.token,
    }
    return {name: known[name] for name in launch.scalars}


STRIDES = (
    "qkv_batch_stride", "qkv_group_stride", "qkv_token_stride",
    "out_batch_stride", "out_group_stride", "out_token_stride",
)  # fmt: skip


def power_above(value: int) -> int:
    """The smallest power of two that is at least ``value``."""
    return 1 << max(value - 1, 0).bit_length()


def checked_width(width: int) -> int:
    """K, where the kernels take it. Raises ValueError otherwise."""
    if width not in WIDTHS:
        raise ValueError(f"width: expected an even head width from {WIDTHS[0]} to {WIDTHS[-1]}, got {width}")
    return width
