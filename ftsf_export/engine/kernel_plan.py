"""What the compiler made of a graph: its kernels, what each moves, in which types, and which ONNX nodes are behind it.

A plan is read from the builder's own verbose log (detailed profiling), with no GPU. Sizes are known at a static
batch; with a dynamic one the dimensions are -1, sizes are None, and names and types are still there.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ftsf_export.engine.grammar import GrammarError, LayerRecord, layer_lines, record_from_line
from ftsf_export.network.scope import Scope
from ftsf_export.plan_record import Memory
from ftsf_export.precision import PRECISIONS

# Bits of the element types that a plan shows; those of a precision go by its name.
_BITS = {
    **{name: precision.bits for name, precision in PRECISIONS.items()},
    "int32": 32, "int64": 64, "bool": 8, "uint8": 8, "int4": 4, "fp4": 4,
}  # fmt: skip
# The compilers' words for element types -> ours: our own, and the network's and NumPy's spelling of a precision.
_DTYPE_WORDS = {
    **{name: name for name in _BITS},
    **{word.lower(): name for name, one in PRECISIONS.items() for word in (one.engine, one.element)},
}
_DTYPE = re.compile(r"\b(" + "|".join(sorted(_DTYPE_WORDS, key=len, reverse=True)) + r")\b", re.IGNORECASE)
# Types of what a product multiplies; whole numbers of other types are indices and shapes.
OPERAND_TYPES = (*PRECISIONS, "fp4")
# The element type of a tensor of which the compiler does not tell it.
UNTOLD = "untold"
# How TensorRT's inspector says that: "N/A due to dynamic shapes".
_UNTOLD_WORDS = "N/A"
# Where a tensor's element type stands: in the builder's log and in TensorRT 11, which spells it in two ways, and in
# TensorRT 10 together with the format.
_TYPE_KEYS = ("Datatype", "DataType", "Format/Datatype")
# Synchronisation, shape arithmetic on the host, views and constants: layers of the plan that launch nothing.
_NOT_KERNELS = ("signal", "wait", "shape_call", "NoOp", "Constant")
_NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f]|$)")
# A node of a function's body, and the node that called it: "pool_q/MatMul | blocks.0.temporal.attn.core/Op (Op)".
_INLINED = re.compile(r"(.*) \| (.*)/[^/ ]+ \([^()]*\)")
# Fused kernels are named after their operations, abbreviated: __myl_FcDivCastErf...; Fc and Dot are products.
_FUSED_NAME = re.compile(r"__myl_([A-Za-z]+)_")
PRODUCT_WORDS = {"Fc", "Dot", "Gemm", "Conv", "Matmul", "Bmm"}
# TensorRT for RTX calls its convolutions correlations.
_PRODUCT_KIND = re.compile(r"gemm|conv|correlation|matrixmultiply|matmul|attention|mha", re.IGNORECASE)
_ATTENTION_NAME = re.compile(r"mha|fused_attention|flash", re.IGNORECASE)
_MEMORY_LINES = {
    "activation_bytes": re.compile(r"Total Activation Memory: (\d+)"),
    "scratch_bytes": re.compile(r"Max Scratch Memory: (\d+)"),
    "weights_bytes": re.compile(r"Total Weights Memory: (\d+)"),
}


def nodes_named(metadata: str) -> tuple[str, ...]:
    """Names of the ONNX nodes in the compiler's note on a layer. A node of a function's body stands below the one that
    called it: ``blocks.0.temporal.attn.core.pool_q/MatMul``."""
    return tuple(dict.fromkeys(_node_named(text) for text in _NODE.findall(metadata)))


def is_inlined(metadata: str) -> bool:
    """Whether the compiler's note names a node of a function's body."""
    return any(_INLINED.fullmatch(text) for text in _NODE.findall(metadata))


def _node_named(text: str) -> str:
    match = _INLINED.fullmatch(text)
    if match is None:
        return text
    inner, outer = match[1], match[2]
    return Scope(outer) / inner if "/" in inner else Scope(outer).node(inner)


def dtype_named(words: str) -> str:
    """Our name of an element type: "Half" or "Row major linear FP16 format" is fp16. Raises GrammarError."""
    if words.startswith(_UNTOLD_WORDS):
        return UNTOLD
    match = _DTYPE.search(words)
    if match is None:
        raise GrammarError(f"expected an element type ({', '.join(_DTYPE_WORDS)}), got {words!r}")
    return _DTYPE_WORDS[match[1].lower()]


@dataclass(frozen=True)
class Tensor:
    """An operand or result of a kernel."""

    name: str  #: The compiler's.
    dims: tuple[int, ...]  #: In elements, -1 where the batch is dynamic; none for a scalar.
    dtype: str  #: Our name of its element type, or ``UNTOLD``.

    @property
    def elements(self) -> int | None:
        return None if any(dim < 0 for dim in self.dims) else math.prod(self.dims)

    @property
    def size_bytes(self) -> int | None:
        if self.elements is None or self.dtype == UNTOLD:
            return None
        return -(-self.elements * _BITS[self.dtype] // 8)

    @property
    def is_matrix(self) -> bool:
        """More than one element along some dimension: not a scale, alpha or beta."""
        return any(dim != 1 for dim in self.dims)


@dataclass(frozen=True)
class Kernel:
    """One line of the plan that does work on the GPU."""

    name: str  #: The compiler's.
    kind: str  #: The compiler's own word (kgen, gemm, runtime_fusion, ...).
    inputs: tuple[Tensor, ...]  #: What it reads that other kernels, or the caller, wrote.
    constants: tuple[Tensor, ...]  #: Weights; they are read like inputs.
    outputs: tuple[Tensor, ...]  #: What it writes.
    nodes: tuple[str, ...]  #: Names of the ONNX nodes behind it.
    tactic: str  #: The compiler's implementation, where it says one.

    @property
    def moved_bytes(self) -> int | None:
        """Bytes of inputs, constants and outputs, as often as the compiler lists them; None with a dynamic batch."""
        return _sum_known(t.size_bytes for t in (*self.inputs, *self.constants, *self.outputs))

    @property
    def is_attention(self) -> bool:
        """Both products of an attention, and the softmax between them, in one kernel."""
        return _ATTENTION_NAME.search(self.name) is not None or _ATTENTION_NAME.search(self.tactic) is not None

    @property
    def is_product(self) -> bool:
        """A matrix product, a convolution or a fused attention."""
        if self.is_attention or _PRODUCT_KIND.search(self.kind) or "gemm" in self.tactic:
            return True
        return bool(PRODUCT_WORDS.intersection(self.operations))

    @property
    def operations(self) -> tuple[str, ...]:
        """The abbreviated operations in a fused kernel's name ("Fc", "Div", "Cast"); long names end in "Etc"."""
        match = _FUSED_NAME.match(self.name)
        return () if match is None else tuple(re.findall(r"[A-Z][a-z0-9]*", match[1]))

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """Inputs and constants of a type that products multiply, without alpha, beta and other single numbers."""
        return tuple(t for t in (*self.inputs, *self.constants) if t.is_matrix and t.dtype in OPERAND_TYPES)

    @property
    def untold(self) -> bool:
        """Whether the compiler keeps the element type of something that it reads to itself."""
        return any(t.dtype == UNTOLD for t in (*self.inputs, *self.constants))


_UNKNOWN_MEMORY = Memory()


@dataclass(frozen=True)
class Plan:
    """The compiled graph."""

    kernels: tuple[Kernel, ...]  #: In the order of execution.
    memory: Memory = _UNKNOWN_MEMORY  #: What the engine will allocate.
    unread: tuple[str, ...] = ()  #: Layer lines that the grammar did not know.
    problem: str = ""  #: Why the compiler did not tell all of it, or nothing; "" where it told what it was asked.

    @property
    def moved_bytes(self) -> int | None:
        return _sum_known(kernel.moved_bytes for kernel in self.kernels)

    @property
    def products(self) -> tuple[Kernel, ...]:
        return tuple(kernel for kernel in self.kernels if kernel.is_product)

    @property
    def fused_attentions(self) -> int:
        return sum(kernel.is_attention for kernel in self.kernels)

    def layer_types(self) -> dict[str, int]:
        return dict(Counter(kernel.kind for kernel in self.kernels).most_common())

    def operand_types(self) -> dict[str, int]:
        """How many products run on each set of operand types: {"fp16": 50, "fp16+fp32": 2}."""
        sets = ("+".join(sorted({t.dtype for t in kernel.operands})) or "none" for kernel in self.products)
        return dict(Counter(sets).most_common())


def plan_from_log(log: Iterable[str], *, strict: bool = False) -> Plan:
    """Read the plan out of a builder's verbose log.

    An unknown layer line goes to ``Plan.unread``; with ``strict`` it raises GrammarError. Raises GrammarError when
    the log holds no layers at all: the build did not finish, or profiling was not detailed.
    """
    lines = [line.rstrip("\n") for line in log]
    records: list[LayerRecord] = []
    unread: list[str] = []
    for line in layer_lines(lines):
        try:
            records.append(record_from_line(line))
        except GrammarError:
            if strict:
                raise
            unread.append(line)
    if not records:
        raise GrammarError("expected layers in the builder's log (detailed profiling, a finished build), found none")
    plan = plan_from_layers(records, memory=memory_from_log(lines), strict=strict)
    return replace(plan, unread=(*unread, *plan.unread))


def plan_from_layers(layers: Sequence[LayerRecord], *, memory: Memory = _UNKNOWN_MEMORY, strict: bool = False) -> Plan:
    """A plan from layer records: those of the log, or "Layers" of the engine inspector's JSON (TensorRT proper).

    A record that lacks what a kernel needs goes to ``Plan.unread``; with ``strict`` it raises GrammarError.
    """
    kernels: list[Kernel] = []
    unread: list[str] = []
    for layer in layers:
        try:
            kernel = _kernel(layer)
        except GrammarError:
            if strict:
                raise
            unread.append(str(layer))
            continue
        if not _is_shape_arithmetic(kernel):
            kernels.append(kernel)
    return Plan(tuple(kernels), memory, tuple(unread))


def _is_shape_arithmetic(kernel: Kernel) -> bool:
    tensors = (*kernel.inputs, *kernel.constants, *kernel.outputs)
    no_data = all(t.dtype in ("int64", "int32") and len(t.dims) <= 1 for t in tensors)
    return kernel.kind in _NOT_KERNELS or (no_data and not kernel.nodes)


def _kernel(record: LayerRecord) -> Kernel:
    # The inspector of an engine built without detailed profiling gives bare names.
    if not isinstance(record, dict) or not _text(record, "Name") or not _text(record, "LayerType"):
        raise GrammarError(f"expected a layer with a Name and a LayerType, got {str(record)[:120]}")
    return Kernel(
        name=_text(record, "Name"),
        kind=_text(record, "LayerType"),
        inputs=_tensors(record, "Inputs"),
        constants=_tensors(record, "Constants") or _weights(record),
        outputs=_tensors(record, "Outputs"),
        nodes=nodes_named(_text(record, "Metadata")),
        tactic=_text(record, "TacticName"),
    )


def _tensors(record: LayerRecord, key: str) -> tuple[Tensor, ...]:
    found: Any = record.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise GrammarError(f"{key}: expected tensors, got {str(found)[:120]}")
    return tuple(
        Tensor(_text(item, "Name"), _dims(item.get("Dimensions", [])), dtype_named(_type_words(item))) for item in found
    )


def _type_words(item: LayerRecord) -> str:
    return next(filter(None, (_text(item, key) for key in _TYPE_KEYS)), "")


def _dims(given: Any) -> tuple[int, ...]:
    if not isinstance(given, list) or not all(type(size) is int for size in given):
        raise GrammarError(f"expected dimensions, got {str(given)[:120]}")
    return tuple(given)


def _weights(record: LayerRecord) -> tuple[Tensor, ...]:
    """Constants of TensorRT's own products and convolutions, which have a type and a count instead of a shape."""
    found: Any = {key: record.get(key) for key in ("Weights", "Bias")}
    return tuple(
        Tensor(key, _dims([value["Count"]]), dtype_named(str(value.get("Type", ""))))
        for key, value in found.items()
        if isinstance(value, dict) and value.get("Count")
    )


def _text(record: LayerRecord, key: str) -> str:
    value = record.get(key, "")
    return value if isinstance(value, str) else ""


def memory_from_log(lines: Iterable[str]) -> Memory:
    """The memory lines of a builder's log, the last of each kind."""
    found: dict[str, int] = {}
    for line in lines:
        for name, pattern in _MEMORY_LINES.items():
            if match := pattern.search(line):
                found[name] = int(match[1])
    return Memory(**found)


def _sum_known(sizes: Iterable[int | None]) -> int | None:
    known = list(sizes)
    return None if None in known else sum(size for size in known if size is not None)
