"""``ftsf info BUNDLE``: what a bundle holds and what was proved about it."""

from __future__ import annotations

from pathlib import Path

import click

from ftsf_export.cli.options import CONTEXT_SETTINGS, bundle_argument, terminal_options
from ftsf_export.cli.terminal import Terminal, pass_terminal


@click.command("info", context_settings=CONTEXT_SETTINGS)
@bundle_argument
@terminal_options
@pass_terminal
def command(terminal: Terminal, bundle: Path) -> None:
    """Say what BUNDLE holds: model, precision, FP32 islands, files, engines, verdicts."""
    terminal.say(str(bundle))
