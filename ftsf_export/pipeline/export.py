"""``export``: a model in, a verified bundle out. Orders the stages and hands their values on; no maths."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsf_export import __version__
from ftsf_export.bench.timing import Timing
from ftsf_export.bundle import ONNX_NAME, Bundle, BundleWriter, Golden, Manifest, TensorSpec, record
from ftsf_export.config import ExportConfig
from ftsf_export.errors import EnvironmentLacks, RunError
from ftsf_export.network.scope import CLIP, LOGITS
from ftsf_export.parity.engines import judge_engine
from ftsf_export.parity.judge import Limits
from ftsf_export.pipeline.bench import BenchRequest, bench
from ftsf_export.pipeline.build import BuildOptions, BuiltEngine, GraphFacts, build_engines
from ftsf_export.pipeline.clips import judged_clips
from ftsf_export.pipeline.engine_plans import EnginePlans, plans_of
from ftsf_export.pipeline.given_model import config_of_model
from ftsf_export.pipeline.graphs import GraphMade, make_graph
from ftsf_export.pipeline.held_out import held_out_clips
from ftsf_export.pipeline.plugins import PluginChoice, choose_plugins
from ftsf_export.pipeline.resolve import ResolvedExport, resolve_export
from ftsf_export.pipeline.stages import Stages
from ftsf_export.precision import precision_named
from ftsf_export.progress import OnProgress, silent
from ftsf_export.report import Command, GraphFigures, Report, report_files, report_from_manifest, write_report
from ftsf_export.runners.driver import gpu_problem
from ftsf_export.verdict import Verdict

if TYPE_CHECKING:
    from fast_timesformer.config import TimeSformerConfig
    from fast_timesformer.model import FastTimeSformer

_TOOLS = (
    "torch",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime-gpu",
    "onnxruntime",
    "polygraphy",
    "numpy",
    "av",
    "transformers",
)


def export(
    config: ExportConfig,
    *,
    model: FastTimeSformer | None = None,
    output: str | Path,
    overwrite: bool = False,
    on_progress: OnProgress = silent,
) -> Bundle:
    """Exports ``model`` (None: the one that ``config`` describes) into the bundle ``output``.

    A ``model`` brings its own architecture and weights: they take the place of the model fields of ``config``. A gate
    that says no does not raise: the bundle is kept, and its ``verdicts`` say so. Raises UsageError, OutputError,
    EnvironmentLacks, ExportError, BuildError or RunError; then nothing is written.
    """
    if model is not None:
        config = config_of_model(config, model)
    resolved = resolve_export(config, output=output, overwrite=overwrite, on_progress=on_progress)
    return run_export(resolved, model=model, overwrite=overwrite, on_progress=on_progress).bundle


@dataclass(frozen=True)
class ExportResult:
    """The bundle, and the report that is in it."""

    bundle: Bundle
    report: Report


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
        with stages("make the clips"):
            clips = judged_clips(resolved.preprocessing, seed=config.seed, videos=config.videos)
        resolved, plugins = _with_plugins(resolved, model, stages, on_progress)
        with held_out_clips(config.held_out, resolved.preprocessing, resolved.labels, on_progress) as held_out:
            made = make_graph(resolved, model, clips, held_out, folder=writer.path, stages=stages)
        del clips
        manifest = _manifest(
            resolved, made, plugins, weights="given by the caller" if model is not None else resolved.weights
        )
        with stages("build the engines"):
            built = _build(resolved, manifest, writer.path, on_progress)
        with stages("read the plans"):
            planned = plans_of(built, manifest, writer.path / ONNX_NAME, made.subject, on_progress)
        with stages("judge the engines"):
            judged = _judge_engines(config, built, made.golden, on_progress)
            verdicts = (*made.verdicts, *judged, *planned.verdicts)
        for one in built:
            manifest = manifest.with_engine(one.entry)
        manifest = manifest.with_verdicts(verdicts)
        report = _report(resolved, made, built, planned, writer.hashed(manifest), stages)
        write_report(report, writer.path)
        bundle = writer.commit(manifest)
    return _benchmarked(ExportResult(bundle, report), on_progress)


def _with_plugins(
    resolved: ResolvedExport, model: FastTimeSformer | None, stages: Stages, on_progress: OnProgress
) -> tuple[ResolvedExport, PluginChoice]:
    """The export with its plugins chosen."""
    config = resolved.config
    if config.plugins != "auto":
        return resolved, PluginChoice(along=resolved.plugins, reason=f"{config.plugins} asked for")
    with stages("choose the plugins"):
        choice = choose_plugins(
            config,
            _architecture(resolved, model),
            resolved.choice,
            frozenset(resolved.rewrites),
            opset=resolved.opset,
            on_progress=on_progress,
        )
    return replace(resolved, plugins=choice.along), choice


def _architecture(resolved: ResolvedExport, model: FastTimeSformer | None) -> TimeSformerConfig:
    if model is not None:
        return model.config
    if resolved.checkpoint is not None:
        return resolved.checkpoint.model
    return resolved.config.architecture


def _manifest(resolved: ResolvedExport, made: GraphMade, plugins: PluginChoice, *, weights: str) -> Manifest:
    config = resolved.config
    batch = config.batch.minimum if config.batch.static else "batch"
    clip = (batch, config.frames, config.channels, config.size.height, config.size.width)
    pixels = ("RGB" if config.channels == 3 else f"{config.channels} channels") + " in 0..1"
    values = pixels if config.pixels else f"{pixels}, minus mean, over std"
    return Manifest(
        created_by=f"ftsf-export {__version__}",
        config={
            **config.as_dict(),
            "rewrites": list(made.rewrites),
            "plugin_nodes": plugins.as_dict(),
            "work": made.work,
            "model": made.model_config,
            **_pretrained(resolved),
            "reference": made.reference,
        },
        weights=weights,
        inputs=(TensorSpec(CLIP, clip, "float32", "BFCHW", values),),
        outputs=(TensorSpec(LOGITS, (batch, config.num_classes), "float32", "BL", "unnormalised class scores"),),
        preprocessing=resolved.preprocessing,
        labels=resolved.labels,
        precision=config.precision,
        opset=made.opset,
        islands=made.islands,
        taps=made.taps,
        batch=config.batch,
        tools=_tools(),
    )


def _pretrained(resolved: ResolvedExport) -> dict[str, Any]:
    return {} if resolved.checkpoint is None else {"pretrained": resolved.checkpoint.as_dict()}


def _tools() -> dict[str, str]:
    """Versions of what made the bundle."""
    found = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


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
                one.engine.path, golden, one.entry,
                required=False, batch=config.batch, limits=limits, on_progress=on_progress,
            )
        )  # fmt: skip
    return verdicts


def _report(
    resolved: ResolvedExport,
    made: GraphMade,
    built: Iterable[BuiltEngine],
    planned: EnginePlans,
    manifest: Manifest,
    stages: Stages,
) -> Report:
    return report_from_manifest(
        manifest,
        graph=GraphFigures(nodes=made.nodes, parameters=made.parameters, rewrites=made.rewrites),
        sidecars={one.entry.file: one.engine.sidecar() for one in built},
        build_seconds={one.entry.file: one.engine.build_seconds for one in built},
        plans=planned.as_dicts(),
        stages=[time.as_dict() for time in stages.times],
        commands=[
            Command(
                title=f"Build the engine for {deferred.target.title} on the machine itself",
                command=deferred.command("."),
                reason=deferred.reason,
            )
            for deferred in resolved.choice.deferred
        ],
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
            timings += bench(result.bundle.path, BenchRequest(runner=builder), on_progress=on_progress)
        except (EnvironmentLacks, RunError) as error:
            reasons.append(f"not run: {error.message}")
    report = replace(result.report, gpu_benchmark="; ".join(reasons)).refreshed(
        result.bundle.manifest, timings=[timing.as_dict() for timing in timings]
    )
    return ExportResult(record(result.bundle, files=dict(report_files(report))), report)
