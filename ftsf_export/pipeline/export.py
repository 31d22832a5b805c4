"""``export``: a model in, a verified bundle out. Orders the stages and hands their values on; no maths."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fast_timesformer.config import TimeSformerConfig
from ftsf_export import __version__
from ftsf_export.bench.request import BenchRequest
from ftsf_export.bundle import (
    ONNX_NAME,
    Bundle,
    BundleWriter,
    GivenWeights,
    Manifest,
    PluginNodes,
    TensorSpec,
    Weights,
    record,
)
from ftsf_export.bundle.golden import Golden
from ftsf_export.bundle.specs import BATCH
from ftsf_export.config import ExportConfig
from ftsf_export.doctor.packages import ONNX_RUNTIMES
from ftsf_export.engine.request import BuildOptions, GraphFacts
from ftsf_export.errors import EnvironmentLacks, RunError, UsageError
from ftsf_export.network.scope import FEATURES, LOGITS
from ftsf_export.parity.engines import judge_engine
from ftsf_export.parity.judge import Limits
from ftsf_export.pipeline.bench import measure_bundle
from ftsf_export.pipeline.build_bundle import BuiltEngine, build_engines, figures_of
from ftsf_export.pipeline.calibration import calibration_clips
from ftsf_export.pipeline.clips import judged_clips
from ftsf_export.pipeline.graphs import GraphMade, make_graph
from ftsf_export.pipeline.held_out import held_out_clips
from ftsf_export.pipeline.plan_bundle import EnginePlans, plans_of
from ftsf_export.pipeline.plugin_choice import PluginChoice, choose_plugins
from ftsf_export.pipeline.resolve import ResolvedExport, resolve_export
from ftsf_export.pipeline.shown_clips import shown_clips
from ftsf_export.pipeline.stages import Stages
from ftsf_export.precision import precision_named
from ftsf_export.progress import OnProgress, silent
from ftsf_export.report import Command, Record, ShownClip, render
from ftsf_export.runners.driver import gpu_problem
from ftsf_export.timing import Timing
from ftsf_export.verdict import Verdict

if TYPE_CHECKING:
    from fast_timesformer.model import FastTimeSformer
    from ftsf_export.checkpoint.given import Module

_TOOLS = (
    "torch",
    "onnx",
    "onnx-ir",
    "onnxscript",
    *ONNX_RUNTIMES,
    "polygraphy",
    "numpy",
    "av",
    "transformers",
)


def export(
    config: ExportConfig,
    *,
    model: Module | None = None,
    output: str | Path,
    overwrite: bool = False,
    on_progress: OnProgress = silent,
) -> Bundle:
    """Exports ``model`` (None: the one that ``config`` describes) into the bundle ``output``.

    ``model``: a ``FastTimeSformer``, or transformers' ``TimesformerForVideoClassification``, as it is or from
    ``torch.compile``. It brings its architecture and weights; model fields that were written in ``config`` must agree.
    A gate that says no does not raise: the bundle is kept, ``bundle.passed`` is False, and
    ``bundle.raise_for_failed()`` raises. Raises UsageError (also for a model with methods, hooks or wrappers of its
    own, which the graph would not have), OutputError, EnvironmentLacks, ExportError, BuildError or RunError; then
    nothing is written.
    """
    how: dict[str, Any] = {"output": output, "overwrite": overwrite, "on_progress": on_progress}
    if model is None:
        return run_export(resolve_export(config, **how), overwrite=overwrite, on_progress=on_progress).bundle
    from ftsf_export.checkpoint import given

    if config.checkpoint is not None:
        raise UsageError(f"model: got a model and the checkpoint {config.checkpoint}; give one of the two")
    model = given.unwrapped(model)
    if given.is_huggingface_model(model):
        with given.saved_as_checkpoint(model) as folder:
            return export(config.replaced(checkpoint=folder), **how)
    module = given.exportable(model)
    resolved = replace(resolve_export(given.config_of_model(config, module.config), **how), asked=config)
    return run_export(resolved, model=module, overwrite=overwrite, on_progress=on_progress).bundle


@dataclass(frozen=True)
class ExportResult:
    """What an export made."""

    bundle: Bundle  #: On the disk.
    report: Record  #: The record of the report that is in it.


def run_export(
    resolved: ResolvedExport,
    *,
    model: FastTimeSformer | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = silent,
) -> ExportResult:
    """Does what ``resolve_export`` decided. Raises as ``export`` does."""
    config, stages = resolved.config, Stages(on_progress)
    with BundleWriter(resolved.output, overwrite=overwrite) as writer:
        with stages("prepare the clips"):
            clips = judged_clips(resolved.preprocessing, seed=config.seed, videos=config.videos)
        resolved, plugins = _with_plugins(resolved, model, stages, on_progress)
        how = resolved.preprocessing
        with (
            held_out_clips(config.held_out, how, resolved.labels, on_progress) as held_out,
            calibration_clips(config, how, clips, on_progress) as calibration,
        ):
            made = make_graph(
                resolved, model, clips, held_out,
                plugins=plugins.nodes, calibration=calibration, folder=writer.path, stages=stages,
            )  # fmt: skip
        shown = shown_clips(clips, made.logits, resolved.preprocessing, resolved.labels or ())
        del clips
        manifest = _manifest(resolved, made, GivenWeights() if model is not None else resolved.weights)
        built, planned, judged = _engines(resolved, manifest, made, writer.path, stages, on_progress)
        verdicts = (*made.verdicts, *judged, *planned.verdicts)
        for one in built:
            manifest = manifest.with_engine(one.entry)
        manifest = manifest.with_verdicts(verdicts, by="export")
        report = _report(resolved, built, planned, writer.hashed(manifest), stages, shown)
        for name, content in render(report).items():
            (writer.path / name).write_bytes(content)
        bundle = writer.commit(manifest)
    return _benchmarked(ExportResult(bundle, report), on_progress)


def _with_plugins(
    resolved: ResolvedExport, model: FastTimeSformer | None, stages: Stages, on_progress: OnProgress
) -> tuple[ResolvedExport, PluginChoice]:
    """The export with its plugins chosen."""
    config = resolved.config
    if config.plugins != "auto":
        return resolved, PluginChoice(nodes=PluginNodes(resolved.plugins, f"{config.plugins} asked for"))
    with stages("choose the plugins"):
        choice = choose_plugins(
            config,
            resolved.model if model is None else model.config,
            resolved.choice,
            frozenset(resolved.rewrites),
            opset=resolved.opset,
            on_progress=on_progress,
        )
    return replace(resolved, plugins=choice.nodes.along), choice


def _manifest(resolved: ResolvedExport, made: GraphMade, weights: Weights) -> Manifest:
    config, model = resolved.config, made.model
    batch = config.batch.minimum if config.batch.static else BATCH
    return Manifest(
        created_by=f"ftsf-export {__version__}",
        asked=resolved.asked,
        model=model,
        weights=weights,
        reference=made.reference,
        inputs=(resolved.takes.spec(batch, model, resolved.preprocessing),),
        outputs=tuple(_OUTPUTS[name](batch, model) for name in resolved.outputs),
        preprocessing=resolved.preprocessing,
        labels=resolved.labels,
        precision=config.precision,
        batch=config.batch,
        graph=made.record,
        tools=_tools(),
    )


_OUTPUTS: dict[str, Callable[[int | str, TimeSformerConfig], TensorSpec]] = {
    LOGITS: lambda batch, model: TensorSpec(
        LOGITS, (batch, model.num_classes), "float32", "BL", "unnormalised class scores"
    ),
    FEATURES: lambda batch, model: TensorSpec(
        FEATURES, (batch, model.dim), "float32", "BD", "the class token after the last norm"
    ),
}


def _tools() -> dict[str, str]:
    """Versions of what made the bundle."""
    found = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _engines(
    resolved: ResolvedExport,
    manifest: Manifest,
    made: GraphMade,
    folder: Path,
    stages: Stages,
    on_progress: OnProgress,
) -> tuple[tuple[BuiltEngine, ...], EnginePlans, list[Verdict]]:
    """The engines that are built here, what the compiler made of them, and what their gates say."""
    if not resolved.choice.to_build:
        return (), EnginePlans(), []
    with stages("compile the engines"):
        built = _build(resolved, manifest, folder, on_progress)
    with stages("read what the compiler made"):
        planned = plans_of(built, manifest, folder / ONNX_NAME, made.subject, on_progress)
    with stages("check the engines"):
        return built, planned, _judge_engines(resolved.config, built, made.golden, on_progress)


def _build(
    resolved: ResolvedExport, manifest: Manifest, folder: Path, on_progress: OnProgress
) -> tuple[BuiltEngine, ...]:
    facts = GraphFacts.of_manifest(manifest, folder / ONNX_NAME)
    options = BuildOptions(workspace_mib=resolved.config.workspace_mib)
    built = []
    for one in build_engines(resolved.choice, facts, folder, options=options, on_progress=on_progress):
        (folder / one.entry.sidecar).write_bytes(one.sidecar)
        built.append(one)
    return tuple(built)


def _judge_engines(
    config: ExportConfig, built: Iterable[BuiltEngine], golden: Golden, on_progress: OnProgress
) -> list[Verdict]:
    """Each engine's types, and its outputs where this machine can run it."""
    limits = Limits.for_precision(precision_named(config.precision), atol=config.atol, rtol=config.rtol)
    verdicts = []
    for one in built:
        verdicts.append(one.verdict)
        verdicts.append(
            judge_engine(
                nullcontext(one.engine.request.output), golden, one.entry,
                required=False, profile=config.batch, limits=limits, on_progress=on_progress,
            )
        )  # fmt: skip
    return verdicts


def _report(
    resolved: ResolvedExport,
    built: Iterable[BuiltEngine],
    planned: EnginePlans,
    manifest: Manifest,
    stages: Stages,
    clips: tuple[ShownClip, ...],
) -> Record:
    return Record(
        manifest=manifest,
        engines=figures_of(built),
        plans=tuple(plan.record for plan in planned.plans),
        stages=stages.times,
        clips=clips,
        commands=tuple(
            Command(
                title=f"Build the engine for {deferred.target.title} on the machine itself",
                command=deferred.command("."),
                reason=deferred.reason,
            )
            for deferred in resolved.choice.deferred
        ),
    )


def _benchmarked(result: ExportResult, on_progress: OnProgress) -> ExportResult:
    """The engines' figures added to the report, where a GPU is there that runs them.

    The bundle is whole by then: a benchmark that cannot run leaves it as it is, and the report says why.
    """
    builders = dict.fromkeys(engine.builder for engine in result.bundle.engines)
    if not builders or gpu_problem():
        return result
    timings: list[Timing] = []
    reasons: list[str] = []
    for builder in builders:
        try:
            timings += measure_bundle(result.bundle.path, BenchRequest(runner=builder), on_progress=on_progress)
        except (EnvironmentLacks, RunError) as error:
            reasons.append(f"not run: {error.message}")
    report = replace(result.report, gpu_benchmark="; ".join(reasons)).refreshed(
        result.bundle.manifest, timings=tuple(timings)
    )
    return ExportResult(record(result.bundle, files=dict(render(report))), report)
