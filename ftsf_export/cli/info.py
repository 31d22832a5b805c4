"""``ftsf info BUNDLE``: what a bundle holds and what was proved about it."""

from __future__ import annotations

from pathlib import Path

from ftsf_export.cli.options import bundle_argument, ftsf_command
from ftsf_export.cli.terminal import Terminal


@ftsf_command("info")
@bundle_argument
def command(terminal: Terminal, bundle: Path) -> None:
    """Say what BUNDLE holds: model, precision, FP32 islands, files, engines, verdicts.

    Exits 0 for every bundle that is whole, also when a gate failed for it. Verdicts are shown as they were recorded:
    `ftsf verify` judges.
    """
    from ftsf_export.bundle import Bundle
    from ftsf_export.bundle.manifest import json_from_manifest
    from ftsf_export.cli.summary import bundle_facts, say_engines, say_files, say_model, say_rewrites

    opened = Bundle.open(bundle)
    manifest = opened.manifest
    terminal.record(manifest=json_from_manifest(manifest), **bundle_facts(opened))
    terminal.say(f"bundle     {bundle}  ({manifest.created_by})")
    say_model(terminal, manifest)
    how = manifest.preprocessing
    terminal.say(
        f"video      {how.sampled}; short side to {how.resize_short_side or 'as it is'} ({how.resample}, "
        f"{how.resizer}), centre crop {how.crop[0]}x{how.crop[1]}, {how.color_order}, mean {list(how.mean)}, "
        f"std {list(how.std)}"
    )
    say_rewrites(terminal, manifest)
    say_files(terminal, manifest)
    say_engines(terminal, manifest)
    for verdict in opened.verdicts:
        terminal.verdict(verdict)
