"""``export``: a model in, a verified bundle out. Orders the stages and hands their values on; no maths."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsf_export import __version__
from ftsf_export.bundle import ONNX_NAME, Bundle, BundleWriter, Golden, Manifest, TensorSpec
from ftsf_export.config import ExportConfig, Size
from ftsf_export.errors import UsageError
from ftsf_export.parity.judge import Limits
from ftsf_export.pipeline.build import BuildOptions, BuiltEngine, GraphFacts, build_engines
from ftsf_export.pipeline.clips import judged_clips
from ftsf_export.pipeline.gates import engine_verdict
from ftsf_export.pipeline.graphs import GraphMade, make_graph
from ftsf_export.pipeline.resolve import ResolvedExport, resolve_export
from ftsf_export.pipeline.stages import Stages
from ftsf_export.progress import OnProgress, silent
from ftsf_export.verdict import Verdict

if TYPE_CHECKING:
    from fast_timesformer.model import FastTimeSformer

_TOOLS = ("torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime-gpu", "onnxruntime", "polygraphy", "numpy", "av")


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
        config = _config_with(config, model)
    resolved = resolve_export(config, output=output, overwrite=overwrite)
    return run_export(resolved, model=model, overwrite=overwrite, on_progress=on_progress)


def run_export(
    resolved: ResolvedExport,
    *,
    model: FastTimeSformer | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = silent,
) -> Bundle:
    """Does what ``resolve_export`` decided. Raises as ``export`` does."""
    config, stages = resolved.config, Stages(on_progress)
    with BundleWriter(resolved.output, overwrite=overwrite) as writer:
        with stages("make the clips"):
            clips = judged_clips(resolved.preprocessing, seed=config.seed, videos=config.videos)
        made = make_graph(resolved, model, clips, folder=writer.path, stages=stages)
        del clips
        manifest = _manifest(resolved, made, weights="given by the caller" if model is not None else resolved.weights)
        with stages("build the engines"):
            built = _build(resolved, manifest, writer.path, on_progress)
        for one in built:
            manifest = manifest.with_engine(one.entry)
        with stages("judge the engines"):
            verdicts = [*made.verdicts, *_judge_engines(config, built, made.golden, on_progress)]
        manifest = manifest.with_verdicts(tuple(verdicts))
        return writer.commit(manifest)


def _config_with(config: ExportConfig, model: FastTimeSformer) -> ExportConfig:
    """``config`` with the architecture of ``model``."""
    own: Any = getattr(model, "config", None)
    try:
        if not own.frames_first:
            raise UsageError(
                "model: expected clips of (B, F, C, H, W), got frames_first=False; export it with frames first"
            )
        return config.replaced(
            attn=own.attn_mechanism,
            attn_type=own.attn_type,
            frames=own.frames,
            size=Size(own.height, own.width),
            channels=own.channels,
            patch_size=own.patch_size,
            dim=own.dim,
            depth=own.depth,
            heads=own.heads,
            dim_head=own.dim_head,
            num_classes=own.num_classes,
            rotary=own.rotary_emb,
            checkpoint=None,
        )
    except AttributeError as error:
        raise UsageError(
            f"model: expected a FastTimeSformer with its configuration, got {type(model).__name__} ({error})"
        ) from error


def _manifest(resolved: ResolvedExport, made: GraphMade, *, weights: str) -> Manifest:
    config = resolved.config
    batch = config.batch.minimum if config.batch.static else "batch"
    clip = (batch, config.frames, config.channels, config.size.height, config.size.width)
    pixels = "RGB" if config.channels == 3 else f"{config.channels} channels"
    return Manifest(
        created_by=f"ftsf-export {__version__}",
        config={**config.as_dict(), "model": made.model_config},
        weights=weights,
        inputs=(TensorSpec("clip", clip, "float32", "BFCHW", f"{pixels} in 0..1, minus mean, over std"),),
        outputs=(TensorSpec("logits", (batch, config.num_classes), "float32", "BL", "unnormalised class scores"),),
        preprocessing=resolved.preprocessing,
        labels=None,
        precision=config.precision,
        opset=made.opset,
        islands=made.islands,
        taps=made.taps,
        batch=config.batch,
        tools=_tools(),
    )


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
    limits = Limits.for_precision(config.precision, atol=config.atol, rtol=config.rtol)
    verdicts = []
    for one in built:
        verdicts.append(one.verdict)
        verdicts.append(
            engine_verdict(
                one.engine.path, golden, one.entry,
                required=False, batch=config.batch, limits=limits, on_progress=on_progress,
            )
        )  # fmt: skip
    return verdicts
