"""One cell of a sweep, in its own process: export, gates, plan, times. Memory and faults of a cell end with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftsf_export.bench.request import BenchRequest
from ftsf_export.bundle.manifest import manifest_converter
from ftsf_export.config import ExportConfig
from ftsf_export.disk import scratch_folder
from ftsf_export.errors import EnvironmentLacks
from ftsf_export.pipeline.bench import measure_bundle
from ftsf_export.pipeline.export import ExportResult, run_export
from ftsf_export.pipeline.plan_bundle import plan
from ftsf_export.pipeline.resolve import resolve_export
from ftsf_export.precision import precision_named
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell
from ftsf_export.strict_json import plain
from ftsf_export.sweep_record import FAILED, PASSED
from ftsf_export.verdict import failing


def run(request: Message, tell: Tell) -> Message:
    """The fields of a ``CellResult`` that the cell itself knows. Raises as ``run_export`` and ``plan``."""
    asked = request.value

    def on_progress(stage: str, _fraction: float | None) -> None:
        tell(stage)

    config = ExportConfig(**asked["config"])
    with _place(asked["bundle"]) as output:
        resolved = resolve_export(config, output=output, overwrite=True, on_progress=on_progress)
        result = run_export(resolved, overwrite=True, on_progress=on_progress)
        planned = _plan(result, asked["target"], on_progress)
        measured = _measured(result, asked["bench"], on_progress)
    manifest = result.bundle.manifest
    verdicts = (*manifest.verdicts, *planned.pop("verdicts"))
    against = failing(verdicts)
    found = {
        "ended": FAILED if against else PASSED,
        "said": against[0].sentence() if against else "",
        "asked": config.written(),
        "model": manifest.model,
        "precision": manifest.precision,
        "batch": manifest.batch.optimum,
        "weights": manifest.weights_described,
        "parameters": manifest.graph.parameters,
        "verdicts": verdicts,
        **planned,
        **measured,
    }
    return Message(plain(found, converter=manifest_converter()))


@contextmanager
def _place(bundle: str | None) -> Iterator[Path]:
    """Where the cell's bundle goes: kept, or thrown away."""
    if bundle is not None:
        yield Path(bundle)
        return
    with scratch_folder("ftsf-sweep-") as folder:
        yield folder / "bundle"


def _plan(result: ExportResult, target: str, on_progress: Any) -> dict[str, Any]:
    """What the compiler made of the graph: of the export's own engine, else compiled for its plan alone."""
    if result.report.plans:
        return {"plan": result.report.plans[0], "plan_problem": "", "verdicts": ()}
    precision = result.bundle.manifest.precision
    if not precision_named(precision).compiled:
        return {"plan": None, "plan_problem": f"this version makes no engines in {precision}", "verdicts": ()}
    try:
        found = plan(result.bundle.path, target=target, on_progress=on_progress)
    except EnvironmentLacks as error:
        return {"plan": None, "plan_problem": error.message, "verdicts": ()}
    return {"plan": found.record, "plan_problem": "", "verdicts": found.verdicts}


def _measured(result: ExportResult, bench: dict[str, Any] | None, on_progress: Any) -> dict[str, Any]:
    """What was asked to be measured; else what the export itself measured on a GPU."""
    timings, problem = result.report.timings, "" if result.report.timings else result.report.gpu_benchmark
    if bench is not None:
        try:
            timings, problem = measure_bundle(result.bundle.path, BenchRequest(**bench), on_progress=on_progress), ""
        except EnvironmentLacks as error:
            timings, problem = (), error.message
    return {"timings": timings, "timing_problem": problem}
