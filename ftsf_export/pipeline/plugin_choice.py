"""Which attentions become nodes for plugins: those that were asked for, or with ``auto`` those where a plan says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ftsf_export.bundle import ONNX_NAME, PluginNodes
from ftsf_export.bundle.specs import CLASS_TAIL
from ftsf_export.config import BatchRange, ExportConfig
from ftsf_export.disk import scratch_folder
from ftsf_export.engine.audit import audit
from ftsf_export.engine.cards import card_of
from ftsf_export.engine.choice import BuildPlanChoice, build_tools_here
from ftsf_export.engine.plugin_costs import attention_costs, problem_of_model
from ftsf_export.engine.request import GraphFacts
from ftsf_export.engine.targets import USUAL_TARGET, Target, target_named
from ftsf_export.errors import EnvironmentLacks
from ftsf_export.network.scope import CLIP
from ftsf_export.pipeline.plan_bundle import compile_at, compiler_for
from ftsf_export.plan_record import AttentionCost
from ftsf_export.progress import OnProgress, silent

if TYPE_CHECKING:
    from fast_timesformer.config import TimeSformerConfig

# The first block, which all but the last are like, and the last.
_DEPTH = 2


@dataclass(frozen=True, kw_only=True)
class PluginChoice:
    """Which attentions become nodes for plugins, and what that was decided by."""

    nodes: PluginNodes  #: The choice with its reason in words.
    costs: tuple[AttentionCost, ...] = ()  #: Each kind of attention as compiled and as a plugin, where a plan was read.


def takes_plugins(choice: BuildPlanChoice) -> Target | None:
    """The first machine whose engine TensorRT makes, which takes plugins; None where TensorRT for RTX makes them all.

    A bundle for no machine in particular is planned for a usual one.
    """
    if not choice.to_build and not choice.deferred:
        return target_named(USUAL_TARGET)
    targets = [one.target for one in choice.to_build if one.builder == "tensorrt"]
    targets += [deferred.target for deferred in choice.deferred if "tensorrt" in deferred.target.builders]
    return next(iter(targets), None)


def require_compiler() -> None:
    """Raises EnvironmentLacks unless a compiler is here whose plan ``auto`` can read."""
    here = build_tools_here()
    if not here.rtx_installed and not (here.tensorrt_installed and here.gpu_capability is not None):
        raise EnvironmentLacks(
            "plugins auto: reads a compiled plan, and no compiler is here (--plugins all and none need none)",
            extra=here.extra,
        )


def choose_plugins(
    config: ExportConfig,
    model: TimeSformerConfig,
    choice: BuildPlanChoice,
    rewrites: frozenset[str],
    *,
    opset: int,
    on_progress: OnProgress = silent,
) -> PluginChoice:
    """What ``--plugins auto`` picks: each kind of attention whose plugin has the lower bound than what is compiled.

    The plan is that of two blocks of the model. Raises as ``compile_at``.
    """
    if problem := problem_of_model(model):
        return PluginChoice(nodes=PluginNodes(reason=problem))
    target = takes_plugins(choice)
    if target is None:
        reason = "TensorRT for RTX takes no plugins: it would compile the nodes' functions"
        return PluginChoice(nodes=PluginNodes(reason=reason))
    usual = config.batch.optimum
    builder, compiled_for = compiler_for(target, config.precision)
    two = replace(model, depth=min(_DEPTH, model.depth))
    with scratch_folder("ftsf-plugins-") as folder:
        facts = _facts(config, two, folder, rewrites, opset)
        engine = compile_at(facts, builder, compiled_for, on_progress=on_progress)
        read = audit(engine.plan, engine.products, card=card_of(target))
    tail = CLASS_TAIL in rewrites
    costs = attention_costs(read, two, config.precision, usual, class_tail=tail)
    along = tuple(cost.along for cost in costs if cost.plugin_is_better)
    said = "; ".join(_said(cost) for cost in costs)
    nodes = PluginNodes(along, f"by the plan of two blocks for {target.name}: {said}")
    return PluginChoice(nodes=nodes, costs=costs)


def _said(cost: AttentionCost) -> str:
    """The choice for one kind of attention, with the figures of both ways."""
    better = "the plugin" if cost.plugin_is_better else "decomposed"
    figures = [f"{one.kernels} kernels and {one.moved_bytes / 1e6:,.1f} MB" for one in (cost.plugin, cost.compiled)]
    return f"along {cost.along} {better} (plugin {figures[0]}, compiled {figures[1]})"


def _facts(
    config: ExportConfig, model: TimeSformerConfig, folder: Path, rewrites: frozenset[str], opset: int
) -> GraphFacts:
    """The decomposed graph of ``model`` with random weights, in a file."""
    from ftsf_export.checkpoint.load import random_model
    from ftsf_export.graph.export import GraphOptions, export_onnx
    from ftsf_export.graph.precision import to_precision

    usual = config.batch.optimum
    batch = BatchRange(usual, usual, usual)
    graph = export_onnx(random_model(model, config.seed), GraphOptions(batch=batch, opset=opset, rewrites=rewrites))
    path = folder / ONNX_NAME
    to_precision(graph, config.precision).save(path)
    return GraphFacts(
        onnx_path=path,
        precision=config.precision,
        batch=batch,
        input_name=CLIP,
        clip_shape=(model.frames, model.channels, model.height, model.width),
    )
