"""The plans of the engines that an export built: read where the batch is static, compiled once more where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ftsf_export.bundle import Manifest
from ftsf_export.errors import BuildError
from ftsf_export.network.gates import plan_types, plan_work
from ftsf_export.pipeline.build_bundle import BuiltEngine, GraphFacts
from ftsf_export.pipeline.plan_bundle import GraphPlan, compile_at, read_engine
from ftsf_export.progress import OnProgress, silent
from ftsf_export.verdict import Subject, Verdict


@dataclass(frozen=True)
class EnginePlans:
    """What was read, and the plan gates' verdicts; an engine whose plan could not be read has one that says why."""

    plans: tuple[GraphPlan, ...]
    verdicts: tuple[Verdict, ...]


def plans_of(
    built: Iterable[BuiltEngine], manifest: Manifest, onnx_path: Path, graph: Subject, on_progress: OnProgress = silent
) -> EnginePlans:
    """``graph``: the file at ``onnx_path``, which ``manifest`` is about.

    An engine of several batch sizes does not tell how much it moves, so its graph is compiled again at the usual batch,
    for the plan alone. The compiler may refuse that where it took the range: then the gates were not run.
    """
    plans: list[GraphPlan] = []
    verdicts: list[Verdict] = []
    usual = manifest.batch.optimum
    for one in built:
        engine, target = one.engine, one.engine.request.target
        try:
            if not manifest.batch.static:
                facts = GraphFacts.of_manifest(manifest, onnx_path)
                engine = compile_at(facts, engine.request.builder, target, on_progress=on_progress)
            plan = read_engine(engine, manifest, target, usual, graph)
        except BuildError as error:
            reason = f"not compiled at batch {usual} alone: {error.message}"
            verdicts.append(plan_work(engine.request.builder, target.name).not_run(graph, reason))
            continue
        plans.append(plan)
        # The engine's own types gate has judged the operand types already.
        types = plan_types(engine.request.builder, target.name).name
        verdicts += [verdict for verdict in plan.verdicts if verdict.gate != types]
    return EnginePlans(tuple(plans), tuple(verdicts))
