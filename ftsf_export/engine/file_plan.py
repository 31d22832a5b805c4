"""What is told of an ONNX file that is in no bundle, and of an engine by its layers alone.

Nobody said what either is to be, so no gate judges them: what is found is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsf_export.bundle.any_graph import AnyGraph
from ftsf_export.engine.audit import Audit, NodeNames, audit
from ftsf_export.engine.builder import Engine
from ftsf_export.engine.cards import card_of
from ftsf_export.engine.graph_plan import GraphPlan, proxy_of
from ftsf_export.engine.kernel_plan import Plan
from ftsf_export.engine.targets import Target
from ftsf_export.engine.trtexec import trtexec_command
from ftsf_export.plan_record import PlannedPlugins, PlanRecord


def read_onnx(engine: Engine, graph: AnyGraph, asked: Target, name: str) -> GraphPlan:
    """The plan of an ``engine`` compiled from ``graph``, which the user calls ``name``, for ``asked``.

    Raises BuildError where the plan does not tell its sizes.
    """
    names = NodeNames(
        {node.name: node.module for node in graph.nodes}, {node.name: node.operation for node in graph.nodes}
    )
    read = audit(engine.plan, engine.products, card=card_of(asked), names=names)
    shapes = engine.request.graph.shapes
    dynamic = [one.name for one in graph.inputs if None in one.shape]
    return _plan(
        read,
        attentions={node: _placed(node, names) for node in graph.attentions},
        build_seconds=engine.build_seconds,
        builder=engine.request.builder,
        builder_version=engine.builder_version,
        target=asked.name,
        compiled_for=engine.request.target.capabilities,
        proxy=proxy_of(engine, asked),
        shapes=shapes,
        trtexec=trtexec_command(name, {one: shapes[one] for one in dynamic}),
    )


def read_layers(plan: Plan, asked: Target | None) -> GraphPlan:
    """An engine by its layers alone, with the bounds of ``asked``'s data sheet.

    They do not tell how much work their products are: the bounds are those of memory. Raises BuildError as
    ``read_onnx``.
    """
    read = audit(plan, (), card=None if asked is None else card_of(asked))
    return _plan(
        read,
        attentions={},
        build_seconds=0.0,
        builder="tensorrt",
        builder_version="",
        target="" if asked is None else asked.name,
        compiled_for=(),
        proxy="",
        shapes={},
        trtexec="",
    )


def _plan(
    read: Audit,
    *,
    attentions: Mapping[str, str],
    build_seconds: float,
    shapes: Mapping[str, tuple[int, ...]],
    **about: Any,
) -> GraphPlan:
    fused = {node for one in read.fused_attentions for node in one.kernel.nodes}
    record = PlanRecord(
        **vars(read.figures()),
        **about,
        precision=_widest(read),
        batch=None,
        expected_attentions=tuple(attentions.values()),
        unfused_attentions=tuple(place for node, place in attentions.items() if node not in fused),
        compiler_fp32=(),
        plugins=PlannedPlugins(nodes_along=(), attentions=()),
        shapes=dict(shapes),
    )
    return GraphPlan(record=record, audit=read, build_seconds=build_seconds, verdicts=())


def _placed(node: str, names: NodeNames) -> str:
    """The node below its module, where its own name holds no path."""
    return node if "/" in node else names.module(node).node(node)


def _widest(read: Audit) -> str:
    """The type in which most of the work runs, or most products where their work is not known; "" without a product."""
    counts: dict[str, int] = {}
    for one in read.kernels:
        if one.runs_in:
            counts[one.runs_in] = counts.get(one.runs_in, 0) + 1
    return next(iter(read.flops_by_type() or sorted(counts, key=lambda dtype: -counts[dtype])), "")
