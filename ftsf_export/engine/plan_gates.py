"""The plan's gates: did every softmax attention become one kernel, and does the work run in the precision asked for?

The types gate (``types``) looks at each kernel's operands; these at what became of the graph as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.engine.audit import Audit, KernelFacts
from ftsf_export.engine.kernel_plan import Plan
from ftsf_export.engine.request import Product
from ftsf_export.engine.types import in_islands
from ftsf_export.mechanisms import mechanism_named
from ftsf_export.network.gates import Gate
from ftsf_export.network.scope import BRANCHES, CORE, Scope
from ftsf_export.precision import precision_named
from ftsf_export.verdict import SHARE, Bound, Measure, Status, Subject, Verdict

# Of the products' work outside the FP32 islands. The last hundredth is for products of a single row, which a compiler
# may write as multiplications and sums in FP32.
LEAST_SHARE = 0.99
_NAMED = 4


def attentions_to_fuse(
    model: TimeSformerConfig, precision: str, batch: int, nodes: Collection[Scope] = ()
) -> tuple[Scope, ...]:
    """Modules whose softmax attention can become one kernel: all of them, in half precision.

    Args:
        model: the architecture.
        precision: of the graph.
        batch: clips in one call.
        nodes: modules whose attention a plugin computes, and no compiler.

    Empty for mechanisms that compilers do not fuse, which have no softmax over pairs of tokens; in FP32, for which
    there is no fused kernel; and where one head of one clip attends over everything: TensorRT for RTX 1.7 fuses batches
    of score matrices and writes a lone one as two products.
    """
    if not mechanism_named(model.attn_mechanism).fuses or not precision_named(precision).is_half:
        return ()
    kind = model.attn_type
    if kind == "joint" and model.num_heads * batch == 1:
        return ()
    modules = (branch.attention(block) for block in range(model.depth) for branch in BRANCHES[kind])
    return tuple(module for module in modules if module not in nodes)


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """What became of the softmax attentions at one batch."""

    batch: int  #: Clips in one call.
    expected: tuple[Scope, ...]  #: Modules whose attention was expected to become one kernel.
    fused: tuple[Scope, ...]  #: Those of them for which one kernel is known to work.
    #: Those of them whose products are known to run in several kernels, and the nodes of these products. The others'
    #: kernels have names that are not known.
    apart: Mapping[Scope, str]
    problem: str = ""  #: Why nothing is known at this batch; "" where something is.

    @property
    def unfused(self) -> tuple[Scope, ...]:
        return tuple(module for module in self.expected if module not in self.fused)


def fusion_of(plan: Plan, products: Sequence[Product], expected: Sequence[Scope], batch: int) -> Fusion:
    """``plan``: at ``batch`` clips, of a network with ``products``."""
    nodes = [node for kernel in plan.kernels if kernel.is_attention for node in kernel.nodes]
    fused = tuple(module for module in expected if any(module.holds(node) for node in nodes))
    names = {product.node for product in products}
    found = {module: _products_apart(plan, names, module / CORE) for module in expected if module not in fused}
    return Fusion(
        batch=batch,
        expected=tuple(expected),
        fused=fused,
        apart={module: ", ".join(apart) for module, apart in found.items() if apart},
        problem="" if plan.kernels else plan.problem,
    )


def _products_apart(plan: Plan, products: set[str], core: Scope) -> tuple[str, ...]:
    """The products within ``core``, where several kernels do them and none is an attention's; none where one does."""
    doing = [[node for node in kernel.nodes if node in products and core.holds(node)] for kernel in plan.kernels]
    doing = [nodes for nodes in doing if nodes]
    return tuple(dict.fromkeys(node for nodes in doing for node in nodes)) if len(doing) > 1 else ()


def judge_attentions(fusions: Sequence[Fusion], builder: str, *, gate: Gate, subject: Subject) -> Verdict:
    """Judge that each expected attention became one kernel at each of the batches, at one of which some is expected.

    Fusion may be lost above some batch x heads (NVIDIA/TensorRT #3665). What TensorRT for RTX calls its fused kernels
    was recorded; what TensorRT proper calls them was not: there an attention fails whose products are seen in several
    kernels, and one of which neither this nor a known name is seen keeps the gate from being judged. ``subject``: the
    graph that ``builder`` compiled.
    """
    fusions = [fusion for fusion in fusions if fusion.expected]
    if not fusions:
        raise ValueError("no attention is expected to fuse: nothing to judge")
    several = len(fusions) > 1
    known = [one for one in fusions if not one.problem]
    faults = {one.batch: one.unfused if builder == "rtx" else tuple(one.apart) for one in known}
    status, reason = Status.PASSED, ""
    if any(faults.values()):
        status = Status.FAILED
        reason = "; ".join(_lost(one, faults[one.batch], several=several) for one in known if faults[one.batch])
    elif len(known) < len(fusions):
        status, reason = Status.INCONCLUSIVE, "; ".join(one.problem for one in fusions if one.problem)
    elif any(one.unfused for one in fusions):
        status = Status.NOT_RUN
        found = ", ".join(f"{_share(one)}{_at(one, several=several)}" for one in fusions)
        reason = f"{found} were found fused by name; builder {builder} may have other names"
    measures = [
        Measure(output=f"attentions{_at(one, several=several)}", metric=metric, value=len(modules), limit=limit)
        for one in fusions
        for metric, modules, limit in (("fused into one kernel", one.fused, None), ("not fused", one.unfused, 0))
    ]
    return gate.verdict(subject, status, reason, measures)


def _share(one: Fusion) -> str:
    return f"{len(one.fused)} of {len(one.expected)} attentions"


def _at(one: Fusion, *, several: bool) -> str:
    return f" at batch {one.batch}" if several else ""


def _lost(one: Fusion, modules: Sequence[Scope], *, several: bool) -> str:
    named = "; ".join(f"{module} ({one.apart.get(module, 'no product of its own')})" for module in modules[:_NAMED])
    more = f"; and {len(modules) - _NAMED} more" if len(modules) > _NAMED else ""
    return f"{_share(one)} became one kernel{_at(one, several=several)}; not fused: {named}{more}"


def judge_work(audit: Audit, precision: str, islands: Sequence[str], *, gate: Gate, subject: Subject) -> Verdict:
    """Judge the share of the products' work, outside the FP32 islands, that runs in ``precision``."""
    outside = [one for one in audit.kernels if one.flops and not _in_island(one, islands)]
    total = sum(one.flops for one in outside)
    share = sum(one.flops for one in outside if one.runs_in == precision) / total if total else 0.0
    status, reason = Status.PASSED, ""
    if not total and audit.problem:
        status, reason = Status.INCONCLUSIVE, audit.problem
    elif not total:
        status, reason = Status.FAILED, "the plan shows no product outside the FP32 islands: nothing runs as asked"
    elif audit.unread:
        status = Status.INCONCLUSIVE
        reason = f"{len(audit.unread)} lines of the plan could not be read, the first: {audit.unread[0][:120]}"
    elif share < LEAST_SHARE:
        other = sorted((one for one in outside if one.runs_in != precision), key=lambda one: -one.flops)
        named = "; ".join(f"{', '.join(one.kernel.nodes[:3])} in {one.runs_in}" for one in other[:_NAMED])
        status = Status.FAILED
        reason = f"{share:.1%} of the products' work runs in {precision}, expected {LEAST_SHARE:.0%}: {named}"
    made = audit.fp32_intermediates(islands) if precision_named(precision).is_half else ()
    measures = (
        Measure(
            output="products' work",
            metric=f"share in {precision}",
            value=share,
            unit=SHARE,
            limit=LEAST_SHARE,
            bound=Bound.AT_LEAST,
        ),
        Measure(output="kernels", metric="writing FP32 of the compiler's own", value=len(made)),
    )
    return gate.verdict(subject, status, reason, measures)


def _in_island(one: KernelFacts, islands: Sequence[str]) -> bool:
    return bool(one.kernel.nodes) and all(in_islands(node, islands) for node in one.kernel.nodes)
