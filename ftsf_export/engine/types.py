"""The types gate: did every matrix product and attention really get the precision that was asked for?

Two readings, and both must agree. The network as parsed and handed to the compiler says what each product was asked
to compute in (strong typing makes that binding); the plan says what each kernel really reads. A kernel that reads
half operands cannot compute them in full, and one that reads FP32 was lowered behind our back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ftsf_export.engine.kernel_plan import PRODUCT_WORDS, Kernel, Plan
from ftsf_export.engine.request import Product
from ftsf_export.network.gates import Gate
from ftsf_export.network.scope import Scope
from ftsf_export.precision import FP32, HALVES
from ftsf_export.verdict import Measure, Status, Subject, Verdict

_NAMED_IN_REASON = 5
# A product reads two operands; what a fused kernel reads beside them (residual, bias) may have another type.
_OPERANDS_OF_A_PRODUCT = 2


def judge_types(
    plan: Plan,
    precision: str,
    *,
    gate: Gate,
    subject: Subject,
    products: Sequence[Product],
    islands: Sequence[str] = (),
    tf32: bool = False,
) -> Verdict:
    """Judge an engine's operand types.

    Args:
        plan: what the compiler made; its dimensions may be dynamic.
        precision: what was asked.
        gate: of the engine, or of the plan alone.
        products: the parsed network's products, from the same build.
        islands: scopes of ONNX nodes that stay in FP32 by design.
        tf32: whether the build allowed TF32.

    Where the plan does not tell the types, or shows no product, the gate is inconclusive: it cannot pass without
    evidence, and an engine that may be right is no error.
    """
    found = _read(plan, precision, products, islands)
    in_network = _network_faults(products, precision, islands)
    allowed_tf32 = precision == FP32.name and (tf32 or any("tf32" in kernel.tactic for kernel in plan.products))
    faults = _faults(precision, in_network, found.faults, allowed_tf32)
    status, reason = Status.PASSED, ""
    if faults:
        status, reason = Status.FAILED, "; ".join(faults)
    elif doubt := _doubt(plan, precision, products, found):
        status, reason = Status.INCONCLUSIVE, doubt
    return gate.verdict(subject, status, reason, _measures(precision, in_network, found, allowed_tf32, plan.unread))


def _measures(
    precision: str, in_network: Sequence[str], found: _Reading, tf32: bool, unread: Sequence[str]
) -> tuple[Measure, ...]:
    other = f"with operands other than {precision}"
    products = "gemm and attention kernels"
    counts: tuple[tuple[str, str, int, float | None], ...] = (
        ("network products", other, len(in_network), 0),
        (products, other, len(found.faults), 0),
        (products, "judged", found.judged, None),
        (products, "that do not tell their operand types", found.untold, 0),
        (products, "inside FP32 islands", found.skipped, None),
        ("build", "TF32 allowed", int(tf32), 0),
        ("plan", "unread lines", len(unread), 0),
    )
    return tuple(Measure(output=o, metric=metric, value=value, limit=limit) for o, metric, value, limit in counts)


def _faults(precision: str, in_network: Sequence[str], in_plan: Sequence[str], tf32: bool) -> list[str]:
    faults = []
    if in_network:
        faults.append(f"the graph asks for other types than {precision}: {_some(in_network)}")
    if in_plan:
        faults.append(f"kernels with operands other than {precision}: {_some(in_plan)}")
    if tf32:
        faults.append("TF32 was allowed: FP32 products may round their operands to 10 bits")
    return faults


def _doubt(plan: Plan, precision: str, products: Sequence[Product], found: _Reading) -> str:
    """What keeps a reading without a fault from being proof; "" for nothing."""
    why = f": {plan.problem}" if plan.problem else ""
    if plan.unread:
        return f"{len(plan.unread)} lines of the plan could not be read, the first: {plan.unread[0][:120]}"
    if found.untold:
        return f"{found.untold} products do not tell their operand types{why or ', as with dynamic shapes'}"
    if not products or found.judged + found.skipped == 0:
        return f"the network shows {len(products)} products, and the plan {found.judged + found.skipped}{why}"
    return "" if found.judged else f"every product is in an FP32 island: nothing judged as {precision}"


def _network_faults(products: Sequence[Product], precision: str, islands: Sequence[str]) -> list[str]:
    return [
        f"{product.node} ({', '.join(product.types)})"
        for product in products
        if set(product.types) != {precision} and not in_islands(product.node, islands)
    ]


@dataclass
class _Reading:
    """What the plan shows: kernels judged, skipped as islands, or without types, and the faults in words."""

    judged: int = 0
    skipped: int = 0
    untold: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, kernels: Sequence[Kernel], nodes: Sequence[str], islands: Sequence[str], *, good: bool) -> None:
        if nodes and all(in_islands(node, islands) for node in nodes):
            self.skipped += len(kernels)
            return
        if any(kernel.untold for kernel in kernels):
            self.untold += len(kernels)
            return
        self.judged += len(kernels)
        if not good:
            self.faults.append(f"{', '.join(nodes) or 'no node'} [{'; '.join(_shown(kernel) for kernel in kernels)}]")


def _read(plan: Plan, precision: str, products: Sequence[Product], islands: Sequence[str]) -> _Reading:
    names = {product.node for product in products}
    reading = _Reading()
    plan = _without_island_results(plan, islands)
    for kernel in plan.products:
        # A fused kernel's other nodes (casts, residual additions) say nothing about its product.
        nodes = [node for node in kernel.nodes if node in names] or list(kernel.nodes)
        reading.add([kernel], nodes, islands, good=_runs_in(kernel, precision))
    for node, pieces in _in_pieces(plan, names).items():
        reading.add(pieces, [node], islands, good=_pieces_run_in(pieces, precision))
    return reading


def _without_island_results(plan: Plan, islands: Sequence[str]) -> Plan:
    """The plan, its kernels without the FP32 inputs that come out of an island: the compiler carries out the cast that
    follows an island (of a rotary table, say) in the kernel that reads it."""
    made = {
        tensor.name
        for kernel in plan.kernels
        if kernel.nodes and all(in_islands(node, islands) for node in kernel.nodes)
        for tensor in kernel.outputs
        if tensor.dtype == FP32.name
    }
    return replace(
        plan,
        kernels=tuple(
            replace(kernel, inputs=tuple(tensor for tensor in kernel.inputs if tensor.name not in made))
            if kernel.is_attention
            else kernel
            for kernel in plan.kernels
        ),
    )


def _in_pieces(plan: Plan, names: set[str]) -> dict[str, list[Kernel]]:
    """Products that no product kernel accounts for, and the kernels that do their work.

    The compiler writes a product with a one-column operand as multiplications and sums. A product behind no kernel
    at all was folded into a constant, or merged into a neighbour under the neighbour's name.
    """
    accounted = {node for kernel in plan.products for node in kernel.nodes}
    pieces: dict[str, list[Kernel]] = {}
    for kernel in plan.kernels:
        for node in names.intersection(kernel.nodes) - accounted:
            pieces.setdefault(node, []).append(kernel)
    return pieces


def _pieces_run_in(pieces: Sequence[Kernel], precision: str) -> bool:
    """Whether the operands come in as asked; in half precision, FP32 between the pieces is the accumulator."""
    types = [tensor.dtype for kernel in pieces for tensor in kernel.operands]
    if precision == FP32.name:
        return set(types) == {precision}
    comes_in = precision in types or any(_casts_before_product(kernel) for kernel in pieces)
    return bool(types) and comes_in and set(types) <= {precision, FP32.name}


def _runs_in(kernel: Kernel, precision: str) -> bool:
    types = [tensor.dtype for tensor in kernel.operands]
    if kernel.is_attention or precision == FP32.name:
        return bool(types) and set(types) == {precision}
    if any(dtype not in (precision, FP32.name) for dtype in types):
        return False
    return types.count(precision) + _casts_before_product(kernel) >= _OPERANDS_OF_A_PRODUCT


def computes_in(kernel: Kernel) -> str:
    """The element type of its products' operands; the types joined by + where they are mixed beyond that."""
    for dtype in HALVES:
        if _runs_in(kernel, dtype):
            return dtype
    return "+".join(sorted({tensor.dtype for tensor in kernel.operands})) or "none"


def _casts_before_product(kernel: Kernel) -> int:
    """Operands that a fused kernel casts itself: how the compiler carries out a Cast node before a product.

    That the product behind the cast is typed as asked is the other reading's to say.
    """
    operations = kernel.operations
    product = next((i for i, word in enumerate(operations) if word in PRODUCT_WORDS), len(operations))
    return operations[:product].count("Cast")


def in_islands(node: str, islands: Sequence[str]) -> bool:
    """Whether a node is, or lies below, one of the scopes; the whole network is no island."""
    return any(scope and Scope(scope).holds(node) for scope in islands)


def _shown(kernel: Kernel) -> str:
    operands = ", ".join(f"{tensor.dtype} {list(tensor.dims)}" for tensor in kernel.operands)
    return f"{kernel.name}: {operands or 'no floating-point operand'}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_IN_REASON
    return "; ".join(names[:_NAMED_IN_REASON]) + (f"; and {more} more" if more > 0 else "")
