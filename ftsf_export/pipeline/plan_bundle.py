"""``ftsf plan``: what a compiler makes of a bundle's graph, with no GPU. Needs neither torch nor ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ftsf_export.bundle import ONNX_NAME, Bundle, Manifest
from ftsf_export.disk import scratch_folder
from ftsf_export.engine.builder import Engine, build_engine
from ftsf_export.engine.choice import BuildTools, resolve
from ftsf_export.engine.graph_plan import GraphPlan, nodes_of_plugins, read_engine
from ftsf_export.engine.kernel_plan import Plan
from ftsf_export.engine.plan_gates import attentions_to_fuse
from ftsf_export.engine.request import USUAL_OPTIONS, BuildOptions, BuildRequest, GraphFacts
from ftsf_export.engine.targets import USUAL_TARGET, Target, stand_in, target_named
from ftsf_export.errors import BuildError, UsageError
from ftsf_export.network.gates import plan_types, plan_work
from ftsf_export.network.scope import Scope
from ftsf_export.pipeline.build_bundle import BuiltEngine
from ftsf_export.progress import OnProgress, silent
from ftsf_export.sizes import MAX_BATCH
from ftsf_export.verdict import Status, Subject, Verdict


def plan(
    path: str | Path,
    *,
    target: str = "",
    batch: int | None = None,
    tools: BuildTools | None = None,
    timeout_s: float = 3600.0,
    limited: bool = True,
    on_progress: OnProgress = silent,
) -> GraphPlan:
    """Compile the graph of the bundle at ``path`` at one batch, and read what became of it. The bundle stays as it is.

    ``target`` defaults to that of the bundle's first engine; ``batch`` to the bundle's usual one, and then attentions
    are judged at its least and its largest one as well. A target that TensorRT for RTX lacks is compiled for its
    nearest capability, and the result says so; nodes for plugins, which it does not take, are cut out of the graph
    then, and their kernels modelled. ``limited``: see ``BuildOptions``; False is for a bundle that is trusted. Raises
    BundleError, UsageError (an unknown target, a batch that the graph does not take), EnvironmentLacks, BuildError.
    """
    bundle = Bundle.open(path)
    manifest = bundle.manifest
    clips, options = _batch(manifest, batch), BuildOptions(timeout_s=timeout_s, limited=limited)
    asked = target_named(target or next((engine.target for engine in bundle.engines), USUAL_TARGET))
    builder, compiled = compiler_for(asked, manifest.precision, tools)
    cut = builder == "rtx" and builder not in asked.builders and bool(manifest.graph.plugins.along)
    with bundle.graph_copy() as graph:

        def facts_at(clips: int) -> GraphFacts:
            facts = GraphFacts.of_manifest(manifest, graph).at_batch(clips)
            return _without_nodes(facts, clips) if cut else facts

        engine = compile_at(facts_at(clips), builder, compiled, options, on_progress=on_progress)
        others: dict[int, Plan] = {}
        if batch is None:
            nodes = nodes_of_plugins(manifest) if cut else ()
            others = _other_plans(engine, facts_at, manifest, nodes, on_progress)
    subject = Subject(ONNX_NAME, manifest.files[ONNX_NAME].sha256)
    return read_engine(engine, manifest, asked, clips, subject, others, cut=cut)


def _without_nodes(facts: GraphFacts, clips: int) -> GraphFacts:
    """The graph around its nodes for plugins, in a file beside it."""
    from ftsf_export.graph.nodes_for_plugins import without_nodes

    around = facts.onnx_path.with_name(f"around-plugins-{clips}.onnx")
    return replace(facts, onnx_path=around, plugins="", shapes=without_nodes(facts.onnx_path, around, clips))


def _other_plans(
    engine: Engine,
    facts_at: Callable[[int], GraphFacts],
    manifest: Manifest,
    nodes: Sequence[Scope],
    on_progress: OnProgress,
) -> dict[int, Plan]:
    """The plans of the graph at the batches of its range beside the usual one, where attentions are expected to fuse:
    those that the engine tells itself, else compiled one by one. One that the compiler refuses says so.

    ``nodes``: attentions that plugins compute.
    """
    request, plans = engine.request, dict(engine.plans_at_batch)
    for clips in manifest.batch.sizes:
        if clips in plans or clips == manifest.batch.optimum:
            continue
        if attentions_to_fuse(manifest.model, manifest.precision, clips, nodes):
            try:
                other = facts_at(clips)
                at = compile_at(other, request.builder, request.target, request.options, on_progress=on_progress)
                plans[clips] = at.plan
            except BuildError as error:
                plans[clips] = Plan((), problem=f"not compiled at batch {clips} alone: {error.message}")
    return plans


def compile_at(
    facts: GraphFacts,
    builder: str,
    target: Target,
    options: BuildOptions = USUAL_OPTIONS,
    *,
    on_progress: OnProgress = silent,
) -> Engine:
    """Compile ``facts`` at its usual batch alone, for its plan: the engine file is thrown away."""
    with scratch_folder("ftsf-plan-") as folder:
        request = BuildRequest(
            graph=facts.at_batch(facts.batch.optimum),
            builder=builder,
            target=target,
            output=folder / "plan.engine",
            options=options,
        )
        return build_engine(request, on_progress=on_progress)


def _batch(manifest: Manifest, asked: int | None) -> int:
    usual = manifest.batch.optimum
    if asked is None or asked == usual:
        return usual
    if manifest.batch.static:
        raise UsageError(f"batch: the bundle's graph takes exactly {usual} clips in a call, got {asked}")
    if not 1 <= asked <= MAX_BATCH:
        raise UsageError(f"batch: expected a whole number from 1 to {MAX_BATCH}, got {asked}")
    return asked


def compiler_for(asked: Target, precision: str, tools: BuildTools | None = None) -> tuple[str, Target]:
    """What compiles for the target, here: itself where that can be done, else TensorRT for RTX for its stand-in."""
    own = resolve("auto", [asked.name], precision, tools).to_build
    if own:
        return own[0].builder, own[0].target
    stand = resolve("rtx", [stand_in(asked).name], precision, tools).to_build[0]
    return stand.builder, stand.target


@dataclass(frozen=True)
class EnginePlans:
    """The plans of an export's engines."""

    plans: tuple[GraphPlan, ...] = ()  #: Those that could be read.
    #: Of the plans' gates; an engine whose plan could not be read has one that says why.
    verdicts: tuple[Verdict, ...] = ()


def plans_of(
    built: Iterable[BuiltEngine], manifest: Manifest, onnx_path: Path, graph: Subject, on_progress: OnProgress = silent
) -> EnginePlans:
    """``graph``: the file at ``onnx_path``, which ``manifest`` is about.

    An engine of several batch sizes does not tell how much work it does, so its graph is compiled again at the usual
    batch, for the plan alone. The compiler may refuse that where it took the range: then the gates were not run.
    """
    plans: list[GraphPlan] = []
    verdicts: list[Verdict] = []
    usual = manifest.batch.optimum
    for one in built:
        engine, target = one.engine, one.engine.request.target
        others: dict[int, Plan] = {}
        try:
            if not manifest.batch.static:
                facts = GraphFacts.of_manifest(manifest, onnx_path)
                nodes = nodes_of_plugins(manifest) if facts.operations(engine.request.builder) else ()
                others = _other_plans(engine, facts.at_batch, manifest, nodes, on_progress=on_progress)
                engine = compile_at(facts, engine.request.builder, target, on_progress=on_progress)
        except BuildError as error:
            reason = f"not compiled at batch {usual} alone: {error.message}"
            verdicts.append(plan_work(engine.request.builder, target.name).not_run(graph, reason))
            continue
        try:
            plan = read_engine(engine, manifest, target, usual, graph, others)
        except BuildError as error:
            gate = plan_work(engine.request.builder, target.name)
            verdicts.append(gate.verdict(graph, Status.INCONCLUSIVE, error.message))
            continue
        plans.append(plan)
        # The engine's own types gate has judged the operand types already.
        types = plan_types(engine.request.builder, target.name).name
        verdicts += [verdict for verdict in plan.verdicts if verdict.gate != types]
    return EnginePlans(tuple(plans), tuple(verdicts))
