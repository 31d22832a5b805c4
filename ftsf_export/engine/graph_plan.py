"""A compiled graph, read and judged: what is told of it, what its gates found, and how it differs from another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ftsf_export.bundle import ONNX_NAME, Manifest
from ftsf_export.bundle.specs import CLASS_TAIL
from ftsf_export.engine.audit import Audit, audit
from ftsf_export.engine.builder import Engine
from ftsf_export.engine.cards import card_of
from ftsf_export.engine.kernel_plan import Plan
from ftsf_export.engine.plan_gates import Fusion, attentions_to_fuse, fusion_of, judge_attentions, judge_work
from ftsf_export.engine.plugin_costs import attention_costs, possible_nodes, with_plugins
from ftsf_export.engine.targets import Target
from ftsf_export.engine.trtexec import trtexec_command
from ftsf_export.engine.types import judge_types
from ftsf_export.network.gates import plan_attentions, plan_types, plan_work
from ftsf_export.network.scope import Scope
from ftsf_export.plan_record import AttentionsAtBatch, KernelTotals, PlannedPlugins, PlanRecord, WidenedKernel
from ftsf_export.verdict import Subject, Verdict, failing


@dataclass(frozen=True, kw_only=True)
class GraphPlan:
    """A graph, compiled for a target, and read."""

    record: PlanRecord  #: What is told of it.
    audit: Audit  #: The kernels, one by one.
    build_seconds: float  #: How long the compiler took.
    verdicts: tuple[Verdict, ...]  #: What the plan's gates found.

    @property
    def failing(self) -> Verdict | None:
        """The first gate that says no; None when none does."""
        return next(iter(failing(self.verdicts)), None)


def read_engine(
    engine: Engine,
    manifest: Manifest,
    asked: Target,
    batch: int,
    graph: Subject,
    others: Mapping[int, Plan] = MappingProxyType({}),
    *,
    cut: bool = False,
) -> GraphPlan:
    """The plan of an ``engine`` compiled from ``graph`` at ``batch`` alone, read and judged.

    Args:
        engine: what was compiled.
        manifest: of the bundle.
        asked: the machine that the plan is to be about.
        batch: clips in one call.
        graph: the file that was compiled.
        others: plans of the same graph at other batches, for the gate on attentions.
        cut: the nodes for plugins were cut out of the graph before: their kernels are modelled.

    Raises BuildError where the plan does not tell its sizes.
    """
    proxy = proxy_of(engine, asked)
    request, precision = engine.request, manifest.precision
    islands = tuple(island.scope for island in manifest.graph.islands)
    read = audit(engine.plan, engine.products, card=card_of(asked))
    fusions = _fusions(engine, manifest, {**others, batch: engine.plan}, cut=cut)
    tail = manifest.graph.has_rewrite(CLASS_TAIL)
    dynamic = not manifest.batch.static
    costs, modelled, told = attention_costs(read, manifest.model, precision, batch, class_tail=tail), None, read
    if cut:
        along = manifest.graph.plugins.along
        costs = tuple(cost for cost in costs if cost.along not in along)
        told, modelled = with_plugins(read, manifest.model, precision, batch, along, class_tail=tail)
    record = PlanRecord(
        **vars(told.figures()),
        builder=request.builder,
        builder_version=engine.builder_version,
        target=asked.name,
        precision=precision,
        compiled_for=request.target.capabilities,
        proxy=proxy,
        batch=batch,
        expected_attentions=fusions[batch].expected,
        unfused_attentions=fusions[batch].unfused,
        attentions_at_batch=tuple(
            AttentionsAtBatch(batch=one.batch, expected=len(one.expected), unfused=one.unfused)
            for one in fusions.values()
            if one.expected
        ),
        compiler_fp32=tuple(
            WidenedKernel(name=one.kernel.name, module=one.module, moved_bytes=one.moved_bytes)
            for one in read.fp32_intermediates(islands)
        ),
        plugins=PlannedPlugins(
            nodes_along=manifest.graph.plugins.along,
            attentions=costs,
            modelled=modelled,
        ),
        trtexec=trtexec_command(ONNX_NAME, {request.graph.input_name: request.profile()[1]} if dynamic else {}),
    )
    about = (request.builder, asked.name, f"{asked.name}, {proxy}" if proxy else "")
    verdicts = _verdicts(read, engine, islands, tuple(fusions.values()), graph, about)
    return GraphPlan(record=record, audit=told, build_seconds=engine.build_seconds, verdicts=verdicts)


def _fusions(engine: Engine, manifest: Manifest, plans: Mapping[int, Plan], *, cut: bool) -> dict[int, Fusion]:
    """Batch -> which attentions were expected to become one kernel in its plan, and which did not."""
    request = engine.request
    nodes = nodes_of_plugins(manifest) if cut or request.graph.operations(request.builder) else ()
    return {
        clips: fusion_of(
            plans[clips],
            engine.products,
            attentions_to_fuse(manifest.model, manifest.precision, clips, nodes),
            clips,
        )
        for clips in sorted(plans)
    }


def nodes_of_plugins(manifest: Manifest) -> tuple[Scope, ...]:
    """The attentions that are nodes for plugins in a bundle's graph."""
    tail = manifest.graph.has_rewrite(CLASS_TAIL)
    nodes = possible_nodes(manifest.model, manifest.graph.plugins.along, class_tail=tail)
    return tuple(module for modules in nodes.values() for module in modules)


def _verdicts(
    read: Audit,
    engine: Engine,
    islands: tuple[str, ...],
    fusions: tuple[Fusion, ...],
    graph: Subject,
    about: tuple[str, str, str],
) -> tuple[Verdict, ...]:
    """``about``: builder, target, and what the plan stands in for."""
    types = judge_types(
        engine.plan,
        engine.request.graph.precision,
        gate=plan_types(*about),
        subject=graph,
        products=engine.products,
        islands=islands,
        tf32=engine.tf32,
    )
    found = [types, judge_work(read, engine.request.graph.precision, islands, gate=plan_work(*about), subject=graph)]
    if any(one.expected for one in fusions):
        gate = plan_attentions(*about)
        found.append(judge_attentions(fusions, engine.request.builder, gate=gate, subject=graph))
    return tuple(found)


def proxy_of(engine: Engine, asked: Target) -> str:
    """What an engine that was compiled in place of another target's stands in for; "" for the target's own."""
    own = engine.request.target
    if own.capabilities == asked.capabilities:
        return ""
    mine, asked_for = (", ".join(target.capabilities) for target in (own, asked))
    return f"compiled for compute capability {mine} in place of {asked_for}"


def difference(one: Audit, other: Audit, view: str) -> list[dict[str, Any]]:
    """Rows of ``view`` that either plan has, with what ``one`` has more than ``other``; the whole first."""
    mine, theirs = (_totals(read, view) for read in (one, other))
    rows = []
    for name in dict.fromkeys((*mine, *theirs)):
        row: dict[str, Any] = {"name": name}
        for figure in ("kernels", "moved_bytes", "flops"):
            for whose, found in (("", mine), ("other_", theirs)):
                row[whose + figure] = getattr(found[name], figure) if name in found else 0
        rows.append(row)
    return rows


def _totals(read: Audit, view: str) -> dict[str, KernelTotals]:
    # The work of products behind no kernel is in no group, and in the whole.
    whole = replace(read.totals, flops=read.flops)
    return {"(all)": whole, **{group.name: group for group in read.groups(view)}}
