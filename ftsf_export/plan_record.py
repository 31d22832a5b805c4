"""What is told of a compiled graph: the JSON of ``ftsf plan``, of the file beside an engine, and of both in a report.

Bytes and work are counted as ``engine.audit`` says. Nothing here is a time of the build or a path of the machine, so
that the same plan says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ftsf_export.strict_json import Count, Sha256

# What a kernel is for, in the order of the report's legend.
KINDS = ("attention", "product", "norm", "pointwise", "copy")

# What the rows of a plan's table can be.
VIEWS = ("block", "module", "kind")


@dataclass(frozen=True)
class Memory:
    """What the engine will allocate, by the builder's log; None where the log does not say."""

    activation_bytes: int | None = None  #: Of the values between kernels.
    scratch_bytes: int | None = None  #: Of the kernel that needs the most beside them.
    weights_bytes: int | None = None  #: Of the constants.


@dataclass(frozen=True, kw_only=True)
class KernelTotals:
    """Several kernels, summed up."""

    kernels: Count  #: How many they are.
    moved_bytes: Count  #: Of all of them.
    flops: Count  #: Of the products behind them.
    least_ms: float | None  #: The sum of their roofline bounds, in milliseconds; None without a card.


@dataclass(frozen=True, kw_only=True)
class KernelGroup(KernelTotals):
    """The kernels of one block, module or kind."""

    name: str  #: Of the block, module or kind.


@dataclass(frozen=True, kw_only=True)
class AttentionCost:
    """The attentions of one kind, from the packed product to the input of the output projection."""

    along: str  #: "time" or "space".
    module: str  #: The scope of all of them, ``blocks.*.temporal.attn``.
    attentions: Count  #: How many a plugin can compute: not the last block's where its class token alone asks.
    #: Kernels of the plan that work for them. What the compiler fused into the products before and after is not among
    #: them.
    compiled: KernelTotals
    #: One kernel each, as modelled; its bytes count what every program reads, held in a cache or not.
    plugin: KernelTotals
    bound_bytes: Count  #: The packed stream once and the output once.
    plugin_is_better: bool  #: Whether ``--plugins auto`` takes the plugin.


@dataclass(frozen=True, kw_only=True)
class PlannedPlugins:
    """Attentions of a plan that plugins can compute."""

    nodes_along: tuple[str, ...]  #: Along what ("time", "space") they are nodes for plugins in the graph.
    #: Each kind as it was compiled, and as a plugin would do it; none of those that are ``modelled``.
    attentions: tuple[AttentionCost, ...]
    #: The nodes' kernels as they are modelled, which are among the plan's figures; None where what stands in the nodes'
    #: place was compiled.
    modelled: KernelTotals | None = None


@dataclass(frozen=True, kw_only=True)
class WidenedKernel:
    """A kernel outside the FP32 islands that writes FP32 values which nobody asked for."""

    name: str  #: The compiler's.
    module: str  #: The scope that it works for.
    moved_bytes: Count  #: Its inputs, constants and outputs.


@dataclass(frozen=True, kw_only=True)
class PlanFigures:
    """The kernels of a plan in figures."""

    kernels: Count  #: How many there are.
    kernels_by_kind: Mapping[str, Count]  #: What a kernel is for -> how many.
    layer_types: Mapping[str, Count]  #: The compiler's own word for a kernel -> how many.
    moved_bytes: Count  #: Of all kernels.
    gemm_flops: Count  #: Work of all products.
    gemm_flops_by_type: Mapping[str, Count]  #: Element type of the operands -> work.
    unplaced_products: tuple[str, ...]  #: Nodes of products behind no kernel.
    memory: Memory  #: What the engine will allocate.
    fused_attentions: Count  #: Attentions that are one kernel.
    copy_kernels: Count  #: Kernels that only copy, transpose or convert.
    copy_bytes: Count  #: What those move.
    least_ms: float | None  #: The sum of the kernels' bounds; None without a card.
    reference_card: str | None  #: Whose data sheet the bounds are from; None where there is none.
    unread_lines: Count  #: Lines of the plan that could not be read.
    by_block: tuple[KernelGroup, ...]  #: In the order of execution.
    by_module: tuple[KernelGroup, ...]  #: The same; the same module of all blocks is one.
    by_kind: tuple[KernelGroup, ...]  #: By what a kernel is for.
    bytes_by_block_and_kind: Mapping[str, Mapping[str, Count]]  #: Bytes moved.


@dataclass(frozen=True, kw_only=True)
class AttentionsAtBatch:
    """What became of the softmax attentions at one batch."""

    batch: Count  #: Clips in one call.
    expected: Count  #: How many were expected to become one kernel.
    unfused: tuple[str, ...]  #: The modules of those that are not known to be one.


@dataclass(frozen=True, kw_only=True)
class PlanRecord(PlanFigures):
    """A graph, compiled for a target."""

    builder: str  #: What compiled it.
    builder_version: str  #: Of the compiler.
    target: str  #: The machine that it is about.
    precision: str  #: Of the graph.
    #: Compute capabilities ("8.6"); the nearest ones where the target's own cannot be compiled for here.
    compiled_for: tuple[str, ...]
    proxy: str  #: Why it stands for the target only in part; "" where it is the target's own.
    batch: Count | None  #: Clips in one call; None of a file that is in no bundle.
    #: Modules whose attention was expected to become one kernel; of a file that is in no bundle, the nodes of all.
    expected_attentions: tuple[str, ...]
    unfused_attentions: tuple[str, ...]  #: Those of them that did not.
    #: At each batch at which it was compiled: the least, the usual and the largest one.
    attentions_at_batch: tuple[AttentionsAtBatch, ...] = ()
    compiler_fp32: tuple[WidenedKernel, ...]  #: FP32 of the compiler's own choice.
    plugins: PlannedPlugins  #: What plugins would do.
    trtexec: str  #: The equivalent command, to be typed inside the bundle; "" of an engine's layers.
    #: Input -> the shape that it was compiled at, of an ONNX file that is in no bundle.
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What stands beside an engine file."""

    builder: str  #: What compiled it.
    builder_version: str  #: Of the compiler.
    target: str  #: The machine that it is for.
    precision: str  #: Of the graph.
    compute_capabilities: tuple[str, ...]  #: Those that it runs on ("8.6").
    sha256: Sha256  #: Of the engine.
    size_bytes: Count  #: Of the engine.
    input: str  #: The name of its input.
    profile: Mapping[str, tuple[int, ...]]  #: "min", "opt" and "max" shape of the input.
    tf32: bool  #: Whether FP32 products may round to TF32.
    plugins: str  #: How it comes by its plugins; "" where it has none.
    kernels: Count  #: How many there are.
    layer_types: Mapping[str, Count]  #: The compiler's own word for a kernel -> how many.
    moved_bytes: Count | None  #: Of all kernels at the usual batch; None where the builder does not tell sizes.
    fused_attentions: Count  #: Attentions that are one kernel.
    product_operand_types: Mapping[str, Count]  #: Operand types ("fp16+fp32") -> products.
    memory: Memory  #: What it will allocate.
    problem: str = ""  #: Why its builder did not tell all of its plan; "" where it did.
