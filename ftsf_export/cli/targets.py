"""``ftsf targets``: the machines that an engine can be built for."""

from __future__ import annotations

import click

from ftsf_export.cli.options import ftsf_command
from ftsf_export.cli.terminal import Terminal

_COLUMNS = ("target", "machine", "capability", "precisions", "compilers", "built", "tried")


@ftsf_command("targets")
@click.option("--all", "every", is_flag=True, help="Compute capabilities too, which are targets as well (sm_86).")
def command(terminal: Terminal, every: bool) -> None:
    """List what `--target` takes: machine, compute capability, precisions, compilers, where it is built, and whether
    that was tried."""
    from ftsf_export.engine.targets import TARGETS

    rows = [
        {
            "target": target.name,
            "machine": target.title,
            "capability": ", ".join(target.capabilities),
            "precisions": " ".join(target.offered_precisions),
            "compilers": ", ".join(target.builders),
            "built": "on the machine itself" if target.rtx_problem() else "anywhere on x86-64",
            "tried": target.tried,
        }
        for target in TARGETS.values()
        if every or not target.is_capability
    ]
    terminal.record(targets=rows)
    widths = {name: max(len(row[name]) for row in ({name: name}, *rows)) for name in _COLUMNS}
    for row in ({name: name for name in _COLUMNS}, *rows):
        line = "  ".join(f"{row[name]:<{widths[name]}}" for name in _COLUMNS).rstrip()
        terminal.say(line, style="bold" if row["target"] == "target" else "")
