"""``ftsf verify BUNDLE``: parity against the reference values that travel in the bundle; needs no PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ftsf_export.cli.options import bundle_argument, ftsf_command, limits_option, parity_options
from ftsf_export.cli.terminal import Terminal
from ftsf_export.config import RUNNERS
from ftsf_export.errors import GateFailed
from ftsf_export.strict_json import plain


@ftsf_command("verify")
@bundle_argument
@click.option(
    "--runner",
    default="auto",
    metavar="|".join(RUNNERS),
    show_default=True,
    help="What to run; auto: the engines where a GPU is there, and the ONNX file.",
)
@click.option(
    "--video",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The video of the export, where it is too large to travel in BUNDLE: its clip is made again.",
)
@parity_options
@limits_option
def command(terminal: Terminal, /, bundle: Path, **options: Any) -> None:
    """Prove BUNDLE against its own reference values; exits 1 when a gate fails."""
    from ftsf_export.cli.summary import bundle_facts, say_weights
    from ftsf_export.pipeline.verify import verify

    with terminal.progress() as on_progress:
        result = verify(bundle, **options, on_progress=on_progress)
    if result.stale:
        terminal.note(f"the bundle's report stays as it was: {result.stale}")
    terminal.record(**bundle_facts(result.bundle), judged=plain(result.verdicts), unjudged=plain(result.unjudged))
    say_weights(terminal, result.bundle.manifest.weights, result.bundle.manifest.model)
    for verdict in result.verdicts:
        terminal.verdict(verdict)
    for verdict in result.unjudged:
        terminal.verdict(verdict)
    if result.unjudged:
        names = ", ".join(dict.fromkeys(verdict.gate for verdict in result.unjudged))
        terminal.note(f"on record, and not judged anew by this run: {names}")
    if result.unrecorded:
        terminal.record(verdicts=plain(result.verdicts))
        terminal.note(f"the verdicts are not in the bundle: {result.unrecorded}")
    terminal.record(warnings=list(result.warnings))
    for warning in result.warnings:
        terminal.warn(warning)
    if not result.passed:
        raise GateFailed(result.reason)
