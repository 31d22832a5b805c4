"""``ftsf doctor``: what this machine has, what it lacks, and which commands can run on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ftsf_export.cli.options import ftsf_command
from ftsf_export.cli.terminal import Terminal

if TYPE_CHECKING:
    from ftsf_export.doctor.examine import Diagnosis

_GIB = 1 << 30


@ftsf_command("doctor")
@click.option("--for", "wanted", metavar="COMMAND", help="Exit 3 unless this command can run here.")
def command(terminal: Terminal, wanted: str | None) -> None:
    """List packages, driver, GPUs, and what each command lacks on this machine.

    Exits 0 whatever it finds; with --for COMMAND, 3 when that command cannot run here.
    """
    from ftsf_export.doctor.examine import check_command, examine, require_command

    if wanted is not None:
        check_command(wanted)
    diagnosis = examine()
    terminal.record(**diagnosis.as_dict())
    _say_machine(terminal, diagnosis)
    _say_packages(terminal, diagnosis)
    _say_libraries(terminal, diagnosis)
    _say_commands(terminal, diagnosis)
    for problem in diagnosis.problems:
        terminal.say(f"problem: {problem}", style="yellow")
    for warning in diagnosis.warnings:
        terminal.say(f"in some graphs: {warning}", style="yellow")
    if wanted is not None:
        require_command(diagnosis, wanted)


def _say_machine(terminal: Terminal, diagnosis: Diagnosis) -> None:
    machine, driver = diagnosis.machine, diagnosis.probes["driver"]
    memory = "" if machine.memory_bytes is None else f", {machine.memory_bytes / _GIB:.1f} GiB"
    terminal.say(f"Python   {machine.python} ({machine.executable})")
    terminal.say(f"System   {machine.system}")
    if machine.jetson is not None:
        terminal.say(f"Jetson   {machine.jetson.model}, L4T {machine.jetson.l4t or 'unknown'}")
    terminal.say(f"CPU      {machine.processor}, {machine.cpus} usable{memory}")
    versions = f"{driver.answer.get('driver_version', '')} CUDA {driver.answer.get('cuda_version', '')}".strip()
    terminal.say(f"Driver   {driver.problem or versions}")
    for gpu in diagnosis.gpus:
        capability, memory_gib = gpu["compute_capability"], gpu["memory_bytes"] / _GIB
        terminal.say(f"GPU      {gpu['name']}, compute capability {capability}, {memory_gib:.1f} GiB")
    if driver.works and not diagnosis.gpus:
        terminal.say("GPU      none: the driver answers and has no device")


def _say_packages(terminal: Terminal, diagnosis: Diagnosis) -> None:
    terminal.say()
    terminal.say("Packages")
    for finding in diagnosis.packages:
        package = finding.package
        tail = f"{package.specifier:<10} {package.extra or 'core':<9}"
        if finding.install:
            tail += f"{f'{finding.problem}: ' if finding.problem else ''}{finding.install}"
        line = f"  {package.name:<18} {finding.version or '-':<12} {tail}"
        terminal.say(line.rstrip(), style="" if finding.usable else "dim")


def _say_libraries(terminal: Terminal, diagnosis: Diagnosis) -> None:
    terminal.say()
    terminal.say("Libraries, each loaded in a process of its own")
    for name, probe in diagnosis.probes.items():
        if name == "driver":
            continue
        version = probe.answer.get("version", "")
        terminal.say(f"  {name:<18} {probe.problem or f'{version:<12} loads'}")
        for provider, problem in probe.answer.get("providers", {}).items():
            terminal.say(f"  {'':<18} {provider}: {f'listed, does not load: {problem}' if problem else 'loads'}")
        if libraries := probe.answer.get("libraries"):
            shown = ", ".join(
                f"{key} {libraries[key]}" for key in sorted(libraries) if key in ("libavcodec", "libavformat")
            )
            terminal.say(f"  {'':<18} ffmpeg's {shown}")


def _say_commands(terminal: Terminal, diagnosis: Diagnosis) -> None:
    terminal.say()
    terminal.say("Commands")
    for readiness in diagnosis.commands:
        if readiness.ready:
            terminal.say(f"  ftsf {readiness.command:<13} ready", style="green")
        for lack in readiness.lacks:
            terminal.say(f"  ftsf {readiness.command:<13} lacks {lack.sentence()}", style="red")
        for lack in readiness.limits:
            terminal.say(f"  {'':<18} without {lack.sentence()}")
