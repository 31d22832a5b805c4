"""What the kernels of ``plugins/`` take and what they would cost, to be read beside a plan. Needs no GPU, no Triton.

Letters: F frames, T tokens a frame, H heads, K head width, M features of FAVOR+.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.engine.audit import Audit, KernelFacts, totals_of
from ftsf_export.engine.cards import Card
from ftsf_export.engine.kernel_plan import Kernel, Tensor
from ftsf_export.engine.request import operation_of
from ftsf_export.mechanisms import MECHANISMS, mechanism_named
from ftsf_export.network.scope import ALONGS, BRANCHES, CORE, JOINT, PROJECTION, Along, Branch, Scope
from ftsf_export.plan_record import AttentionCost, KernelTotals
from ftsf_plugins.cost import Moved, flops, moved
from ftsf_plugins.launch import ELEMENT_BYTES, WIDTHS, ElementType

# Bounds that differ by less say nothing; starting a kernel costs microseconds that no bound holds.
_CLOSE = 0.05


def plugin_problem(mechanism: str, width: int, *, rotated: bool) -> str:
    """Why attentions of that mechanism and head width, with rotary positions or without, have no plugin; empty where
    they have one."""
    plugin = mechanism_named(mechanism).plugin
    if plugin is None:
        known = (name for name, one in MECHANISMS.items() if one.plugin is not None)
        return f"{mechanism} attention has no plugin; expected attention {' or '.join(known)}"
    if plugin.rotated_only and not rotated:
        return (
            f"without rotary positions compilers make one kernel of {mechanism} attention, and a plugin saves nothing"
        )
    if width not in WIDTHS:
        return f"the kernels take even head widths from {WIDTHS[0]} to {WIDTHS[-1]}, got {width}"
    return ""


def problem_of_model(model: TimeSformerConfig) -> str:
    """Why the attentions of ``model`` have no plugin; empty where they have one."""
    return plugin_problem(model.attn_mechanism, model.dim_head, rotated=model.rotary_emb)


def plugin_alongs(attention_type: str) -> tuple[Along, ...]:
    """Along what the attentions of a model go."""
    return tuple(branch.along for branch in BRANCHES[attention_type])


def plugin_is_better(compiled: KernelTotals, plugin: KernelTotals) -> bool:
    """The least time decides where the target has a data sheet, else bytes do; the kernels where these are close."""
    ours, theirs = (
        one.moved_bytes if None in (compiled.least_ms, plugin.least_ms) else one.least_ms or 0.0
        for one in (plugin, compiled)
    )
    if abs(ours - theirs) <= _CLOSE * theirs:
        return plugin.kernels < compiled.kernels
    return ours < theirs


def possible_nodes(model: TimeSformerConfig, along: Collection[str], *, class_tail: bool) -> dict[Branch, list[Scope]]:
    """The attentions along ``along`` that are nodes where they are asked to be, by branch.

    ``class_tail``: of the last block the class token alone is computed (the rewrite of that name), by no node.
    """
    return {
        branch: [branch.attention(block) for block in range(model.depth - (class_tail and branch.holds_class))]
        for branch in BRANCHES[model.attn_type]
        if branch.along in along
    }


def with_plugins(
    audit: Audit, model: TimeSformerConfig, precision: str, batch: int, along: Collection[str], *, class_tail: bool
) -> tuple[Audit, KernelTotals]:
    """The plan of a graph out of which the nodes along ``along`` were cut, with a kernel for each, as modelled; and
    these alone."""
    kernels, added = list(audit.kernels), []
    for branch, modules in possible_nodes(model, along, class_tail=class_tail).items():
        one, work = _modelled(model, branch, precision, batch)
        for module in modules:
            kernel = _kernel(one, work, model, module, precision, batch, audit.card)
            after = (
                at for at, other in enumerate(kernels) if any(map((module / PROJECTION).holds, other.kernel.nodes))
            )
            kernels.insert(next(after, len(kernels)), kernel)
            added.append(kernel)
    return replace(audit, kernels=tuple(kernels)), totals_of(added)


def _kernel(
    one: Moved, work: int, model: TimeSformerConfig, module: Scope, precision: str, batch: int, card: Card | None
) -> KernelFacts:
    """One plugin's kernel, as if a plan listed it."""
    name = operation_of(model.attn_mechanism).name
    inner = model.num_heads * model.dim_head
    rows = one.bound_bytes // (4 * inner * ELEMENT_BYTES[precision] * batch)
    moved_bytes = one.stream_bytes + one.constant_bytes
    least_s, limited_by = (None, "") if card is None else card.least_s(moved_bytes, work, precision)
    return KernelFacts(
        kernel=Kernel(
            name=name,
            kind="plugin, modelled",
            inputs=(Tensor("qkv", (batch, rows, 3 * inner), precision),),
            constants=(),
            outputs=(Tensor("out", (batch, rows, inner), precision),),
            nodes=((module / CORE).node(name),),
            tactic="",
        ),
        kind="attention",
        module=module / CORE,
        moved_bytes=moved_bytes,
        flops=work,
        runs_in=precision,
        least_s=least_s,
        limited_by=limited_by,
    )


def attention_costs(
    audit: Audit, model: TimeSformerConfig, precision: str, batch: int, *, class_tail: bool = True
) -> tuple[AttentionCost, ...]:
    """Each kind of attention in a plan, as it was compiled and as a plugin; empty where there is no plugin for it.

    Args:
        audit: the plan at ``batch`` clips in one call.
        model: the architecture.
        class_tail: as for ``possible_nodes``.
    """
    if precision not in ELEMENT_BYTES or problem_of_model(model):
        return ()
    found = []
    for branch, modules in possible_nodes(model, ALONGS, class_tail=class_tail).items():
        if modules:
            one, work = _modelled(model, branch, precision, batch)
            compiled = totals_of([one for one in audit.kernels if _works_for(one, modules)])
            plugin = _plugin(one, work, len(modules), audit.card, precision)
            found.append(
                AttentionCost(
                    along=branch.along,
                    module=branch.attention("*"),
                    attentions=len(modules),
                    compiled=compiled,
                    plugin=plugin,
                    bound_bytes=one.bound_bytes * len(modules),
                    plugin_is_better=plugin_is_better(compiled, plugin),
                )
            )
    return tuple(found)


def _modelled(model: TimeSformerConfig, branch: Branch, precision: str, batch: int) -> tuple[Moved, int]:
    """Bytes and work of the kernel of one attention."""
    # The class token takes no part along time.
    frames, tokens = model.frames, model.num_patches + branch.holds_class
    if branch is JOINT:
        frames, tokens = 1, model.num_tokens
    element: ElementType = precision  # type: ignore[assignment]  # the same names
    node = {
        "frames": frames, "tokens": tokens, "heads": model.num_heads, "width": model.dim_head, "along": branch.along,
        "axes": branch.axes if model.rotary_emb else 0, "pairs": "neighbours",
        "features": model.num_features if model.mechanism.has_features else 0,
        "eps": 1.0, "feature": model.performer_kernel,
    }  # fmt: skip
    one = operation_of(model.attn_mechanism).launched(node, element)
    return (
        moved(one.launch, one.stream, batch, element, one.features),
        flops(one.launch, one.stream, batch, one.features),
    )


def _works_for(one: KernelFacts, modules: Sequence[Scope]) -> bool:
    """Kernels of the core, and those between it and the products (a head split that is a copy)."""
    return any(one.module == module or (module / CORE).holds(one.module) for module in modules)


def _plugin(one: Moved, work: int, attentions: int, card: Card | None, precision: str) -> KernelTotals:
    moved_bytes = one.stream_bytes + one.constant_bytes
    least_ms = None if card is None else card.least_s(moved_bytes, work, precision)[0] * attentions * 1e3
    return KernelTotals(
        kernels=attentions, moved_bytes=moved_bytes * attentions, flops=work * attentions, least_ms=least_ms
    )
