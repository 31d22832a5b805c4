"""The types gate: did every matrix product and attention really get the precision that was asked for?

Two readings, and both must agree. The network as parsed and handed to the compiler says what each product was asked
to compute in (strong typing makes that binding); the plan says what each kernel really reads. A kernel that reads
half operands cannot compute them in full, and one that reads FP32 was lowered behind our back.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ftsf_export.engine.plan import FLOAT_TYPES, Kernel, Plan, Tensor
from ftsf_export.engine.request import Product
from ftsf_export.errors import BuildError
from ftsf_export.verdict import Measure, Status, Verdict

_NAMED_IN_REASON = 5
# A product reads two operands; what a fused kernel reads beside them (residual, bias) may have another type.
_OPERANDS_OF_A_PRODUCT = 2


def judge_types(
    plan: Plan,
    precision: str,
    *,
    gate: str,
    subject: str,
    subject_sha256: str,
    products: Sequence[Product],
    islands: Sequence[str] = (),
    tf32: bool = False,
) -> Verdict:
    """Judge an engine's operand types.

    Args:
        plan: what the compiler made; its dimensions may be dynamic.
        precision: what was asked: fp32, fp16 or bf16.
        products: the parsed network's products, from the same build.
        islands: scopes or patterns of ONNX nodes that stay in FP32 by design.
        tf32: whether the build allowed TF32.

    Raises BuildError when the plan or the network shows no product: no evidence is a failure.
    """
    if not plan.products or not products:
        raise BuildError(
            f"{subject}: expected matrix products in the {'plan' if products else 'network'}, found none: "
            "the operand types cannot be judged; is this the exported graph, and was the builder's log complete?"
        )
    in_network = _network_faults(products, precision, islands)
    judged, in_plan = _plan_faults(plan, precision, products, islands)
    allowed_tf32 = precision == "fp32" and (tf32 or any("tf32" in kernel.tactic for kernel in plan.products))
    measures = (
        _count("network products", f"with operands other than {precision}", len(in_network), limit=0),
        _count("gemm and attention kernels", f"with operands other than {precision}", len(in_plan), limit=0),
        _count("gemm and attention kernels", "judged", judged),
        _count("gemm and attention kernels", "inside FP32 islands", len(plan.products) - judged),
        _count("build", "TF32 allowed", int(allowed_tf32), limit=0 if precision == "fp32" else None),
        _count("plan", "unread lines", len(plan.unread), limit=0),
    )
    status, reason = _conclusion(precision, in_network, in_plan, allowed_tf32, plan.unread)
    if status is Status.PASSED and judged == 0:
        status, reason = Status.INCONCLUSIVE, f"every product is in an FP32 island: nothing judged as {precision}"
    return Verdict(
        gate=gate, status=status, subject=subject, subject_sha256=subject_sha256, reason=reason, measures=measures
    )


def _conclusion(
    precision: str, in_network: list[str], in_plan: list[str], tf32: bool, unread: Sequence[str]
) -> tuple[Status, str]:
    faults = []
    if in_network:
        faults.append(f"the graph asks for other types than {precision}: {_some(in_network)}")
    if in_plan:
        faults.append(f"kernels with operands other than {precision}: {_some(in_plan)}")
    if tf32:
        faults.append("TF32 was allowed: FP32 products may round their operands to 10 bits")
    if faults:
        return Status.FAILED, "; ".join(faults)
    if unread:
        return Status.INCONCLUSIVE, f"{len(unread)} lines of the plan could not be read, the first: {unread[0][:120]}"
    return Status.PASSED, ""


def _network_faults(products: Sequence[Product], precision: str, islands: Sequence[str]) -> list[str]:
    return [
        f"{product.node} ({', '.join(product.types)})"
        for product in products
        if set(product.types) != {precision} and not in_islands(product.node, islands)
    ]


def _plan_faults(
    plan: Plan, precision: str, products: Sequence[Product], islands: Sequence[str]
) -> tuple[int, list[str]]:
    """How many kernels were judged, and those that read other types than asked."""
    names = {product.node for product in products}
    judged, faults = 0, []
    for kernel in (*plan.products, *_unrecognised(plan, names)):
        # A fused kernel's other nodes (casts, residual additions) say nothing about its product.
        nodes = [node for node in kernel.nodes if node in names] or list(kernel.nodes)
        if nodes and all(in_islands(node, islands) for node in nodes):
            continue
        judged += 1
        if not _runs_in(kernel, precision):
            operands = ", ".join(_shown(tensor) for tensor in kernel.operands) or "no floating-point operand"
            faults.append(f"{', '.join(nodes) or kernel.name} [{kernel.name}: {operands}]")
    return judged, faults


def _unrecognised(plan: Plan, names: set[str]) -> list[Kernel]:
    """Kernels behind a product that no kernel we know as a product accounts for: judged as if they were one."""
    accounted = {node for kernel in plan.products for node in kernel.nodes}
    missing = names - accounted
    return [kernel for kernel in plan.kernels if not kernel.is_product and missing.intersection(kernel.nodes)]


def _runs_in(kernel: Kernel, precision: str) -> bool:
    types = [tensor.dtype for tensor in kernel.operands]
    if kernel.is_attention or precision == "fp32":
        return bool(types) and set(types) == {precision}
    lower = [t for t in types if FLOAT_TYPES.index(t) > FLOAT_TYPES.index("bf16") or (t != precision and t != "fp32")]
    return types.count(precision) >= _OPERANDS_OF_A_PRODUCT and not lower


def in_islands(node: str, islands: Sequence[str]) -> bool:
    """Whether a node is one of, or below, the scopes (``blocks.0/attn``) or matches a pattern (``*/softmax``)."""
    return any(
        node == scope or node.startswith((f"{scope}/", f"{scope}.")) or fnmatchcase(node, scope) for scope in islands
    )


def _shown(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.dims)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_IN_REASON
    return "; ".join(names[:_NAMED_IN_REASON]) + (f"; and {more} more" if more > 0 else "")


def _count(output: str, metric: str, value: int, *, limit: float | None = None) -> Measure:
    return Measure(output=output, metric=metric, value=value, limit=limit, passed=limit is None or value <= limit)
