"""``ftsf build BUNDLE``: engines for a bundle that is already there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ftsf_export.cli.options import builder_option, bundle_argument, ftsf_command, target_option, workspace_option
from ftsf_export.cli.terminal import Terminal
from ftsf_export.config import BatchRange


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
def command(
    terminal: Terminal, /, bundle: Path, builder: str, targets: tuple[str, ...], batch: str | None, **options: Any
) -> None:
    """Compile engines for BUNDLE and add them to it; exits 1 when a type came out lower than asked."""
    from ftsf_export.cli.summary import bundle_facts, say_weights
    from ftsf_export.engine.request import BuildOptions
    from ftsf_export.pipeline.build_bundle import build
    from ftsf_export.verdict import raise_for_failed

    with terminal.progress() as on_progress:
        result = build(
            bundle,
            builder=builder,
            targets=targets,
            batch=None if batch is None else BatchRange.parse(batch),
            options=BuildOptions(**options),
            on_progress=on_progress,
        )
    if result.stale:
        terminal.note(f"the bundle's report stays as it was: {result.stale}")
    terminal.record(**bundle_facts(result.bundle), deferred=list(result.commands))
    say_weights(terminal, result.bundle.manifest.weights, result.bundle.manifest.model)
    for one in result.built:
        terminal.say(f"engine     {result.bundle.path / one.entry.file}  ({one.engine.build_seconds:.1f} s)")
        terminal.verdict(one.verdict)
    for deferred, line in zip(result.deferred, result.commands, strict=True):
        terminal.say(f"on the machine itself ({deferred.target.name}: {deferred.reason}), run:")
        terminal.say(f"  {line}")
    raise_for_failed(result.verdicts)
