"""``ftsf export`` and ``ftsf-export``: the whole line from a model to a verified bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsf_export.cli.options import (
    calibration_options,
    dry_run_option,
    engine_options,
    ftsf_command,
    graph_options,
    model_options,
    output_options,
    parity_options,
    typed,
    video_option,
)
from ftsf_export.cli.terminal import Terminal
from ftsf_export.cli.torch_cache import torch_cache_thrown_away
from ftsf_export.config import ExportConfig
from ftsf_export.strict_json import plain
from ftsf_export.verdict import outcome, raise_for_failed

# Fields that make another model of the same checkpoint.
_NAMED = ("attn", "frames", "size")

if TYPE_CHECKING:
    from ftsf_export.bundle import Bundle
    from ftsf_export.pipeline.resolve import ResolvedExport


@ftsf_command("export")
@model_options
@graph_options
@engine_options
@parity_options
@video_option
@calibration_options
@output_options
@dry_run_option
@torch_cache_thrown_away()
def command(
    terminal: Terminal,
    /,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    rewrite: tuple[str, ...],
    no_rewrite: tuple[str, ...],
    **fields: Any,
) -> None:
    """Export a model to ONNX and an engine, prove both against PyTorch, and write a bundle.

    Without --checkpoint the weights are random. Exits 1 when a gate fails; the bundle is then kept and marked failed.
    """
    from ftsf_export.pipeline.resolve import resolve_export
    from ftsf_export.pipeline.rewrites import chosen_rewrites

    # What was not typed has the configuration's default anyway, and gives way to what a checkpoint brings.
    given = typed(fields)
    if rewrite or no_rewrite:
        given["rewrites"] = chosen_rewrites(rewrite, no_rewrite)
    config = ExportConfig(**given)

    place = output or free_directory(default_name(config), overwrite=overwrite)
    with terminal.progress() as on_progress:
        resolved = resolve_export(config, output=place, overwrite=overwrite, on_progress=on_progress)
    terminal.record(dry_run=dry_run, plan=resolved.as_dict())
    for warning in resolved.warnings:
        terminal.warn(warning)
    if dry_run:
        _say_plan(terminal, resolved)
        return
    from ftsf_export.cli.summary import bundle_facts
    from ftsf_export.pipeline.export import run_export

    start = time.monotonic()
    with terminal.progress() as on_progress:
        result = run_export(resolved, overwrite=overwrite, on_progress=on_progress)
    terminal.record(**bundle_facts(result.bundle), stages=plain(result.report.stages))
    _say_bundle(terminal, resolved, result.bundle)
    _say_end(terminal, resolved, result.bundle, time.monotonic() - start)
    raise_for_failed(result.bundle.verdicts)


def default_name(config: ExportConfig) -> str:
    if config.checkpoint is not None:
        # Its architecture is not known yet; its name says what it is.
        parts = [config.checkpoint.name.split("@")[0], *(str(getattr(config, f)) for f in _NAMED if f in config.given)]
        return "-".join([*parts, config.precision])
    return f"{config.attn}-{config.attn_type}-{config.frames}x{config.size}-{config.precision}"


def free_directory(name: str, *, overwrite: bool) -> Path:
    """``name`` here, or with the first number that is free: without ``-o`` nothing is replaced and nothing refused."""
    place, number = Path(name), 2
    while place.exists() and not overwrite:
        place, number = Path(f"{name}-{number}"), number + 1
    return place


def _say_plan(terminal: Terminal, resolved: ResolvedExport) -> None:
    from ftsf_export.cli.summary import say_architecture

    config = resolved.config
    terminal.say("nothing was written; without --dry-run this would be done:")
    say_architecture(terminal, resolved.model, resolved.weights, resolved.labels)
    form = ", Attention operator" if resolved.attention_operator else ""
    terminal.say(f"graph      {config.precision}, opset {resolved.opset}{form}, batch {config.batch}")
    terminal.say(f"rewrites   {', '.join(resolved.rewrites) or 'none'}")
    if config.plugins != "none":
        along = ", ".join(resolved.plugins) or "known once a plan was read"
        terminal.say(f"plugins    {config.plugins}: nodes for attention along {along}")
    if config.calibration_data:
        terminal.say(f"quantized  the blocks' products with a weight; ranges by {config.calibration}, of up to "
                     f"{config.calibration_clips} clips of {', '.join(map(str, config.calibration_data))}")  # fmt: skip
    for video in config.videos:
        terminal.say(f"video      {video}: {resolved.preprocessing.sampled}, where it is long enough")
    for gate in resolved.gates:
        terminal.say(f"gate       {gate}")
    for name in resolved.as_dict()["files"]:
        terminal.say(f"file       {resolved.output / name}")
    _say_deferred(terminal, resolved)


def _say_bundle(terminal: Terminal, resolved: ResolvedExport, bundle: Bundle) -> None:
    from ftsf_export.cli.summary import say_engines, say_model

    terminal.say(f"bundle     {bundle.path}")
    say_model(terminal, bundle.manifest)
    say_engines(terminal, bundle.manifest)
    for verdict in bundle.verdicts:
        terminal.verdict(verdict, judged_here=True)
    for deferred in resolved.choice.deferred:
        terminal.say(f"not built  {deferred.target.name}: {deferred.reason}")


def _say_end(terminal: Terminal, resolved: ResolvedExport, bundle: Bundle, seconds: float) -> None:
    """How it ended, where to read it, and what to type next."""
    terminal.say()
    failed = "" if bundle.passed else "; the bundle is marked failed (docs/failed-gate.md)"
    terminal.say(f"done in {seconds:.0f} s: {outcome(bundle.verdicts)}{failed}", style="bold")
    terminal.say(f"report     {bundle.path / 'report.html'}")
    terminal.say(f"next       ftsf verify {bundle.path}")
    for deferred, line in zip(resolved.choice.deferred, resolved.commands, strict=True):
        terminal.say(f"           {line}  (on {deferred.target.title})")


def _say_deferred(terminal: Terminal, resolved: ResolvedExport) -> None:
    for deferred, line in zip(resolved.choice.deferred, resolved.commands, strict=True):
        terminal.say(f"engine     {deferred.target.name}: {deferred.reason}; on that machine, run: {line}")
    if not resolved.choice.to_build and not resolved.choice.deferred:
        terminal.say("engine     none was asked for (--builder none)")
