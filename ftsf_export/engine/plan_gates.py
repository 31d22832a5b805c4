"""The plan's gates: did every softmax attention become one kernel, and does the work run in the precision asked for?

The types gate (``types``) looks at each kernel's operands; these at what became of the graph as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.engine.audit import Audit, KernelFacts
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


def attentions_to_fuse(model: TimeSformerConfig, precision: str, batch: int) -> tuple[Scope, ...]:
    """Modules whose softmax attention can become one kernel: all of them, in half precision.

    Args:
        model: the architecture.
        precision: of the graph.
        batch: clips in one call.

    Empty for mechanisms that compilers do not fuse, which have no softmax over pairs of tokens; in FP32, for which
    there is no fused kernel; and where one head of one clip attends over everything: TensorRT for RTX 1.7 fuses batches
    of score matrices and writes a lone one as two products.
    """
    if not mechanism_named(model.attn_mechanism).fuses or not precision_named(precision).is_half:
        return ()
    kind = model.attn_type
    if kind == "joint" and model.num_heads * batch == 1:
        return ()
    return tuple(branch.attention(block) for block in range(model.depth) for branch in BRANCHES[kind])


def fused_modules(audit: Audit, expected: Sequence[Scope]) -> tuple[Scope, ...]:
    """Those of ``expected`` that one fused kernel works for."""
    nodes = [node for one in audit.fused_attentions for node in one.kernel.nodes]
    return tuple(module for module in expected if any(module.holds(node) for node in nodes))


def judge_attentions(audit: Audit, expected: Sequence[Scope], builder: str, *, gate: Gate, subject: Subject) -> Verdict:
    """Judge that each of the ``expected`` attentions, at least one, became one kernel.

    The names of fused kernels were recorded with TensorRT for RTX; those of TensorRT proper were not, so there the
    figure is told and not judged. ``subject``: the graph that ``builder`` compiled.
    """
    if not expected:
        raise ValueError("no attention is expected to fuse: nothing to judge")
    fused = fused_modules(audit, expected)
    missing = [module for module in expected if module not in fused]
    if builder != "rtx":
        status = Status.NOT_RUN
        found = f"{len(fused)} of {len(expected)} attentions were found fused by name"
        reason = f"{found}; not judged for builder {builder}"
    elif missing:
        status = Status.FAILED
        named = "; ".join(f"{module} ({_made_of(audit, module)})" for module in missing[:_NAMED])
        more = f"; and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        reason = f"{len(fused)} of {len(expected)} attentions became one kernel; not fused: {named}{more}"
    else:
        status, reason = Status.PASSED, ""
    measures = (
        Measure(output="attentions", metric="fused into one kernel", value=len(fused)),
        Measure(output="attentions", metric="not fused", value=len(missing), limit=0),
    )
    return gate.verdict(subject, status, reason, measures)


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


def _made_of(audit: Audit, module: Scope) -> str:
    """What stands in the place of a fused kernel: the nodes of the products in the module's kernels."""
    kernels = [one.kernel for one in audit.kernels if one.flops and any(map(module.holds, one.kernel.nodes))]
    nodes = dict.fromkeys(node for kernel in kernels for node in kernel.nodes if (module / CORE).holds(node))
    return ", ".join(nodes) or f"{len(kernels)} kernels"
