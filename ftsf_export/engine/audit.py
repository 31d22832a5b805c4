"""What each kernel of a plan is for, what it costs, and the least time that it can take. Pure values; nothing is run.

Bytes are those of the tensors that the plan lists: inputs, constants and outputs, each once as listed. A kernel that
reads two views of one tensor lists it twice and counts it twice; one that reads a slice lists the slice. Work is that
of matrix products, convolutions and attentions, at the parsed network's shapes, two operations a multiplication and
addition; pointwise arithmetic is not counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftsf_export.engine.cards import Card
from ftsf_export.engine.kernel_plan import Kernel, Plan
from ftsf_export.engine.request import Product
from ftsf_export.engine.types import computes_in, in_islands
from ftsf_export.errors import BuildError
from ftsf_export.network.scope import Scope
from ftsf_export.plan_record import KINDS, KernelGroup, KernelTotals, Memory, PlanFigures
from ftsf_export.precision import FP32

ELSEWHERE = Scope("(no ONNX node)")
OUTSIDE = Scope("(no module)")
# Operations that move values and change none of them, as the compiler abbreviates them in a kernel's name. A cast is
# one: it exists because two neighbours disagree about a type.
_MOVES = {"Resh", "Tran", "Slic", "Conc", "Move", "Repl", "Cast", "Gath", "Expa", "Squ", "Unsq", "Pad", "Copy", "Perm"}
# The layers of TensorRT proper that do the same.
_MOVING_KINDS = re.compile(r"reformat|shuffle|copy|slice|concat|noop|cast", re.IGNORECASE)


@dataclass(frozen=True)
class NodeNames:
    """What nodes do and which modules they belong to, where their names do not tell: in a graph of somebody else's."""

    modules: Mapping[str, Scope] = field(default_factory=dict)  #: Node -> its module.
    operations: Mapping[str, str] = field(default_factory=dict)  #: Node -> its operator.

    def module(self, node: str) -> Scope:
        return self.modules.get(node, Scope.of_node(node))

    def operation(self, node: str) -> str:
        return self.operations.get(node) or next(reversed(Scope(node).parts), "")


OUR_NAMES = NodeNames()


@dataclass(frozen=True, kw_only=True)
class KernelFacts:
    """One kernel, read."""

    kernel: Kernel  #: As the plan lists it.
    kind: str  #: One of ``KINDS``.
    module: Scope  #: The model's module that it works for; a kernel that spans several belongs to its product's.
    moved_bytes: int  #: Its inputs, constants and outputs.
    flops: int  #: Of the products behind it.
    runs_in: str  #: Element type of those products' operands; "" where it has none.
    least_s: float | None  #: Roofline bound by the card's data sheet, in seconds; None without a card.
    limited_by: str  #: "memory" or "arithmetic", whichever sets the bound; "" without a card.

    def group(self, view: str) -> str:
        """The row that it belongs to. By module, the same module of all blocks is one row."""
        if view == "block":
            return self.module.region
        return self.kind if view == "kind" else self.module.of_any_layer

    def as_dict(self) -> dict[str, Any]:
        kernel = self.kernel
        return {
            "name": kernel.name,
            "kind": self.kind,
            "layer_type": kernel.kind,
            "module": self.module,
            "nodes": list(kernel.nodes),
            "moved_bytes": self.moved_bytes,
            "flops": self.flops,
            "runs_in": self.runs_in,
            "least_ms": None if self.least_s is None else self.least_s * 1e3,
            "limited_by": self.limited_by,
            **{
                role: [f"{t.dtype}{list(t.dims)}" for t in getattr(kernel, role)]
                for role in ("inputs", "constants", "outputs")
            },
        }


def totals_of(kernels: Sequence[KernelFacts]) -> KernelTotals:
    times = [one.least_s for one in kernels if one.least_s is not None]
    return KernelTotals(
        kernels=len(kernels),
        moved_bytes=sum(one.moved_bytes for one in kernels),
        flops=sum(one.flops for one in kernels),
        least_ms=sum(times) * 1e3 if len(times) == len(kernels) else None,
    )


@dataclass(frozen=True, kw_only=True)
class Audit:
    """A plan, read."""

    kernels: tuple[KernelFacts, ...]  #: In the order of execution.
    memory: Memory  #: What the engine will allocate.
    card: Card | None  #: Whose data sheet the bounds are from; None where there is none for the target.
    #: Products of the network behind no kernel (folded away, or under another's name).
    unplaced: tuple[Product, ...] = ()
    unread: tuple[str, ...] = ()  #: Lines of the plan that could not be read.
    problem: str = ""  #: Why the compiler did not tell all of it; "" where it did.

    @property
    def totals(self) -> KernelTotals:
        return totals_of(self.kernels)

    @property
    def flops(self) -> int:
        """The work of all products, those behind no kernel too."""
        return self.totals.flops + sum(product.flops or 0 for product in self.unplaced)

    @property
    def fused_attentions(self) -> tuple[KernelFacts, ...]:
        return tuple(one for one in self.kernels if one.kind == "attention")

    @property
    def copies(self) -> tuple[KernelFacts, ...]:
        return tuple(one for one in self.kernels if one.kind == "copy")

    def groups(self, view: str) -> tuple[KernelGroup, ...]:
        """Rows of ``view``: blocks and modules in order of execution, kinds in the order of ``KINDS``."""
        kernels: dict[str, list[KernelFacts]] = {}
        for one in self.kernels:
            kernels.setdefault(one.group(view), []).append(one)
        names = sorted(kernels, key=KINDS.index) if view == "kind" else kernels
        return tuple(KernelGroup(name=name, **vars(totals_of(kernels[name]))) for name in names)

    def bytes_by_block_and_kind(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for one in self.kernels:
            row = found.setdefault(one.module.region, dict.fromkeys(KINDS, 0))
            row[one.kind] += one.moved_bytes
        return found

    def flops_by_type(self) -> dict[str, int]:
        """Work by the type it runs in, the most first."""
        found: Counter[str] = Counter()
        for one in self.kernels:
            if one.flops:
                found[one.runs_in] += one.flops
        return dict(found.most_common())

    def fp32_intermediates(self, islands: Sequence[str]) -> tuple[KernelFacts, ...]:
        """Kernels outside the FP32 islands that write FP32 values nobody asked for: the compiler's own choice.

        What the last kernels write is not among them: a graph's outputs are FP32 by contract.
        """
        read = {tensor.name for one in self.kernels for tensor in one.kernel.inputs}
        return tuple(
            one
            for one in self.kernels
            if any(t.dtype == FP32.name and t.is_matrix and t.name in read for t in one.kernel.outputs)
            and not any(in_islands(node, islands) for node in one.kernel.nodes)
        )

    def figures(self) -> PlanFigures:
        whole, by_kind = self.totals, self.groups("kind")
        return PlanFigures(
            kernels=whole.kernels,
            kernels_by_kind={group.name: group.kernels for group in by_kind},
            layer_types=Counter(one.kernel.kind for one in self.kernels),
            moved_bytes=whole.moved_bytes,
            gemm_flops=self.flops,
            gemm_flops_by_type=self.flops_by_type(),
            unplaced_products=tuple(product.node for product in self.unplaced),
            memory=self.memory,
            fused_attentions=len(self.fused_attentions),
            copy_kernels=len(self.copies),
            copy_bytes=totals_of(self.copies).moved_bytes,
            least_ms=whole.least_ms,
            reference_card=None if self.card is None else self.card.name,
            unread_lines=len(self.unread),
            by_block=self.groups("block"),
            by_module=self.groups("module"),
            by_kind=by_kind,
            bytes_by_block_and_kind=self.bytes_by_block_and_kind(),
        )


def audit(plan: Plan, products: Sequence[Product], *, card: Card | None, names: NodeNames = OUR_NAMES) -> Audit:
    """Read ``plan``, compiled at a static batch from a network with ``products``.

    Raises BuildError where sizes are not known: it was compiled with a dynamic batch, or its compiler keeps them.
    """
    work, unplaced = _placed(plan, products)
    known = {product.node for product in products}
    return Audit(
        kernels=tuple(
            _facts(kernel, flops, known, card, names) for kernel, flops in zip(plan.kernels, work, strict=True)
        ),
        memory=plan.memory,
        card=card,
        unplaced=unplaced,
        unread=plan.unread,
        problem=plan.problem,
    )


def _placed(plan: Plan, products: Sequence[Product]) -> tuple[list[int], tuple[Product, ...]]:
    """Each kernel's share of the work, and the products that no kernel names.

    A product named by several kernels is the product kernel's; where a compiler wrote it as multiplications and sums,
    its work is shared out among them.
    """
    work = [0] * len(plan.kernels)
    unplaced = []
    for product in products:
        if product.flops is None:
            raise BuildError(f"{product.node}: dynamic shapes: compile the plan at one batch")
        holders = [index for index, kernel in enumerate(plan.kernels) if product.node in kernel.nodes]
        holders = [index for index in holders if plan.kernels[index].is_product] or holders
        if not holders:
            unplaced.append(product)
            continue
        share, rest = divmod(product.flops, len(holders))
        for index in holders:
            work[index] += share
        work[holders[0]] += rest
    return work, tuple(unplaced)


def _facts(kernel: Kernel, flops: int, products: set[str], card: Card | None, names: NodeNames) -> KernelFacts:
    moved = kernel.moved_bytes
    if moved is None:
        raise BuildError(f"{kernel.name}: its plan does not tell its sizes: compile the plan at one batch")
    runs_in = computes_in(kernel) if flops or kernel.is_product else ""
    least_s, limited_by = (None, "") if card is None else card.least_s(moved, flops, runs_in)
    return KernelFacts(
        kernel=kernel,
        kind=kind_of(kernel, names),
        module=scope_served(kernel, products, names),
        moved_bytes=moved,
        flops=flops,
        runs_in=runs_in,
        least_s=least_s,
        limited_by=limited_by,
    )


def kind_of(kernel: Kernel, names: NodeNames = OUR_NAMES) -> str:
    """What a kernel is for: the costliest thing in it, in the order of ``KINDS``."""
    if kernel.is_attention:
        return "attention"
    if kernel.is_product:
        return "product"
    if any(names.operation(node).startswith("LayerNormalization") for node in kernel.nodes):
        return "norm"
    operations = kernel.operations
    # A long name is cut short and ends in Etc: what it hides may compute.
    moves = set(operations) <= _MOVES if operations else _MOVING_KINDS.search(kernel.kind) is not None
    return "copy" if moves else "pointwise"


def scope_served(kernel: Kernel, products: Iterable[str] = (), names: NodeNames = OUR_NAMES) -> Scope:
    """The module of its product, or else of most of its nodes."""
    known = set(products)
    nodes = [node for node in kernel.nodes if node in known] or list(kernel.nodes)
    modules = Counter(map(names.module, nodes))
    return (modules.most_common(1)[0][0] or OUTSIDE) if modules else ELSEWHERE
