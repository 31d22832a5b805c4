"""``ftsf bench BUNDLE``: how fast it runs here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftsf_export.bench.request import BenchRequest
from ftsf_export.cli.options import bundle_argument, field_option, ftsf_command, limits_option, usual_batch_option
from ftsf_export.cli.terminal import Terminal
from ftsf_export.config import RUNNERS
from ftsf_export.strict_json import plain

if TYPE_CHECKING:
    from ftsf_export.timing import LatencySummary, Timing

_MB = 1e6


@ftsf_command("bench")
@bundle_argument
@field_option(
    BenchRequest,
    "--runner",
    "runner",
    str,
    "What runs it. auto: the bundle's engines on the GPU that they fit, else ONNX Runtime on the CPU.",
    "|".join(RUNNERS),
)
@usual_batch_option
@field_option(BenchRequest, "--seconds", "seconds", float, "Measure at least so long.")
@field_option(BenchRequest, "--iterations", "iterations", int, "Measure at least so many calls.")
@field_option(BenchRequest, "--warmup", "warmup", int, "Calls before that, for at least half a second.")
@click.option("--threads", type=int, help="Threads of ONNX Runtime.  [default: its own choice]")
@field_option(BenchRequest, "--source-fps", "source_fps", float, "Frame rate of the videos that clips are cut from.")
@limits_option
def command(terminal: Terminal, /, bundle: Path, **request: Any) -> None:
    """Measure how fast BUNDLE runs: latency percentiles, throughput, memory, the GPU's clocks and temperature."""
    from ftsf_export.pipeline.bench import benchmark

    with terminal.progress() as on_progress:
        result = benchmark(bundle, BenchRequest(**request), on_progress=on_progress)
    terminal.record(timings=plain(result.timings))
    for timing in result.timings:
        _say(terminal, timing)
    if result.stale:
        terminal.note(f"the bundle's report stays as it was: {result.stale}")


def _say(terminal: Terminal, timing: Timing) -> None:
    subject = timing.subject
    terminal.say()
    terminal.say(timing.heading, style="bold")
    terminal.say(f"  file        {subject.file}, {subject.precision}, batch {subject.batch}")
    terminal.say(f"  weights     {subject.weights}")
    for name, value in subject.conditions.items():
        terminal.say(f"  {name:<11} {value}")
    terminal.say(f"  latency     {_latency(timing.latency)}, host to host")
    if timing.device is not None:
        terminal.say(f"  GPU alone   {_latency(timing.device)}")
    terminal.say(
        f"  measured    {timing.latency.count} calls in {timing.elapsed_s:.1f} s, after {timing.warmup_iterations}"
    )
    terminal.say(f"  throughput  {timing.clips_per_s:.2f} clips/s, one call at a time")
    if timing.video_s_per_s is not None:
        terminal.say(f"  video       {timing.video_s_per_s:.1f} s of video a second, where {subject.clip_assumption}")
    if timing.peak_rss_bytes is not None:
        terminal.say(f"  memory      {timing.peak_rss_bytes / _MB:.0f} MB at most, of the measuring process")
    _say_gpu(terminal, timing)
    for note in subject.notes:
        terminal.say(f"  note: {note}", style="yellow")


def _latency(summary: LatencySummary) -> str:
    figures = ("p50", "p90", "p95", "p99", "mean")
    values = {name: getattr(summary, f"{name}_ms") for name in figures}
    return ", ".join(f"{name} {value:.{2 if value >= 1 else 4}f}" for name, value in values.items()) + " ms"


def _say_gpu(terminal: Terminal, timing: Timing) -> None:
    if timing.gpu is None:
        return
    if timing.gpu.power_mode:
        terminal.say(f"  power mode  {timing.gpu.power_mode}")
    low, high, before = timing.gpu.lowest, timing.gpu.highest, timing.gpu.before
    ranges = (
        ("SM clock", low.sm_clock_mhz, high.sm_clock_mhz, "MHz"),
        ("mem clock", low.memory_clock_mhz, high.memory_clock_mhz, "MHz"),
        ("temperature", low.temperature_c, high.temperature_c, "°C"),
        ("power", low.power_w, high.power_w, "W"),
    )
    for name, least, most, unit in ranges:
        if least is not None and most is not None:
            terminal.say(f"  {name:<11} {least:.0f} to {most:.0f} {unit}")
    if high.memory_used_bytes is not None and before.memory_used_bytes is not None:
        used, grown = high.memory_used_bytes / _MB, (high.memory_used_bytes - before.memory_used_bytes) / _MB
        terminal.say(f"  GPU memory  {used:.0f} MB in use, {grown:.0f} more than before (all processes)")
    if high.throttle_reasons is not None:
        terminal.say(f"  slowed by   {', '.join(high.throttle_reasons) or 'nothing'}")
