"""``ftsf build BUNDLE``: engines for a bundle that is already there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftsf_export.cli.options import (
    builder_option,
    bundle_argument,
    dry_run_option,
    ftsf_command,
    limits_option,
    target_option,
    workspace_option,
)
from ftsf_export.cli.terminal import Terminal
from ftsf_export.config import BatchRange

if TYPE_CHECKING:
    from ftsf_export.bundle import Bundle
    from ftsf_export.engine.choice import BuildPlanChoice, Deferred


@ftsf_command("build")
@bundle_argument
@builder_option
@target_option
@click.option("--batch", metavar="BATCH", help="One number or MIN:OPT:MAX.  [default: the bundle's]")
@workspace_option
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="TensorRT's measurements, read before and kept after.",
)
@click.option(
    "--plugin-kernels",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Plugins' kernels from scripts/build-plugins, for TensorRT 10.3 where Triton is not installed.",
)
@dry_run_option
@limits_option
def command(
    terminal: Terminal,
    /,
    bundle: Path,
    builder: str,
    targets: tuple[str, ...],
    batch: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Compile engines for BUNDLE and add them to it; exits 1 when a type came out lower than asked.

    Exits 3 when none of them can be built on this machine, and says what to type where it can.
    """
    from ftsf_export.cli.summary import bundle_facts, say_weights
    from ftsf_export.engine.request import BuildOptions
    from ftsf_export.pipeline.build_bundle import build, build_warnings, planned_build
    from ftsf_export.verdict import raise_for_failed

    sizes = None if batch is None else BatchRange.parse(batch)
    asked: dict[str, Any] = {"builder": builder, "targets": targets, "batch": sizes}
    if dry_run:
        opened, choice = planned_build(bundle, **asked)
        _say_plan(terminal, opened, choice)
        most = (sizes or opened.manifest.batch).maximum
        for warning in build_warnings(opened.manifest, (), choice.deferred, most):
            terminal.warn(warning)
        return
    with terminal.progress() as on_progress:
        result = build(bundle, **asked, options=BuildOptions(**options), on_progress=on_progress)
    if result.stale:
        terminal.note(f"the bundle's report stays as it was: {result.stale}")
    terminal.record(**bundle_facts(result.bundle), deferred=list(result.commands), warnings=list(result.warnings))
    say_weights(terminal, result.bundle.manifest.weights, result.bundle.manifest.model)
    for one in result.built:
        terminal.say(f"engine     {result.bundle.path / one.entry.file}  ({one.engine.build_seconds:.1f} s)")
        terminal.verdict(one.verdict)
    _say_deferred(terminal, result.bundle.path, result.deferred)
    for warning in result.warnings:
        terminal.warn(warning)
    raise_for_failed(result.verdicts)


def _say_plan(terminal: Terminal, bundle: Bundle, choice: BuildPlanChoice) -> None:
    terminal.record(
        dry_run=True,
        engines=[{"builder": one.builder, "target": one.target.name} for one in choice.to_build],
        deferred=[one.command(str(bundle.path)) for one in choice.deferred],
    )
    terminal.say("nothing was built; without --dry-run this would be done:")
    for planned in choice.to_build:
        terminal.say(f"engine     {bundle.path / planned.stem(bundle.manifest.precision)}.engine")
    _say_deferred(terminal, bundle.path, choice.deferred)


def _say_deferred(terminal: Terminal, bundle: Path, deferred: Iterable[Deferred]) -> None:
    for one in deferred:
        terminal.say(f"on the machine itself ({one.target.name}: {one.reason}), run:")
        terminal.say(f"  {one.command(str(bundle))}")
