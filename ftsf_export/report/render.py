"""A record as ``report.json``, ``report.md`` and ``report.html``; the last two through templates (Jinja2)."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from ftsf_export.bundle import ONNX_NAME, CheckpointWeights, EngineEntry, Manifest
from ftsf_export.config import Size
from ftsf_export.errors import EnvironmentLacks
from ftsf_export.plan_record import PlanRecord
from ftsf_export.report import charts, figures
from ftsf_export.report.measures import table_from_measures
from ftsf_export.report.record import Command, Record
from ftsf_export.strict_json import bytes_from_json, plain
from ftsf_export.verdict import Status

if TYPE_CHECKING:
    from jinja2 import Environment

_SHOWN_ROWS = 6
_VERIFY_AGAIN = Command(
    title="Verify this bundle again, with or without a GPU, without PyTorch", command="ftsf verify ."
)


def render(record: Record) -> dict[str, bytes]:
    """Name -> content of the three files of a report. The page needs nothing else: styles inside, no script, no font,
    no address.

    Raises EnvironmentLacks without Jinja2.
    """
    text, page = (_environment(escaped=escaped) for escaped in (False, True))
    shown = _view(record)
    return {
        "report.json": bytes_from_json(record.as_json()),
        "report.md": text.get_template("report.md.j2").render(shown).encode(),
        "report.html": page.get_template("report.html.j2").render(shown).encode(),
    }


def _environment(*, escaped: bool) -> Environment:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise EnvironmentLacks("jinja2: not installed, needed to write the report", extra="export") from error
    folder = files("ftsf_export.report") / "templates"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        {name: one for name, one in vars(figures).items() if isfunction(one)}, cell=_markdown_cell
    )
    return environment


def _view(record: Record) -> dict[str, Any]:
    """The fields of the record and of its manifest by name, those that the templates show otherwise, and figures."""
    manifest = record.manifest
    verdicts = [{**plain(one), "table": table_from_measures(one.measures)} for one in manifest.verdicts]
    return {
        **vars(record),
        **vars(manifest),
        "title": _title(manifest),
        "weights": manifest.weights_described,
        "random_weights": manifest.random_weights,
        "need_fine_tuning": manifest.need_fine_tuning,
        "checkpoint": manifest.weights if isinstance(manifest.weights, CheckpointWeights) else None,
        "asked": manifest.asked.written(),
        "model": plain(manifest.model),
        "tensors": (*manifest.inputs, *manifest.outputs),
        # The weights may lie beside the graph, as external data.
        "graph_bytes": sum(entry.size_bytes for name, entry in manifest.files.items() if name.startswith(ONNX_NAME)),
        "verdicts": verdicts,
        "summary": _summary(manifest),
        "shown_rows": _SHOWN_ROWS,
        "engines": [_engine(record, engine) for engine in manifest.engines],
        "plans": [{**vars(plan), "chart": _plan_chart(plan)} for plan in record.plans],
        "colour_rules": charts.colour_rules(),
        "gpu_timings": [timing for timing in record.timings if timing.subject.on_gpu],
        "cpu_timings": [timing for timing in record.timings if not timing.subject.on_gpu],
        "commands": (_VERIFY_AGAIN, *record.commands),
        "files": dict(sorted(manifest.files.items())),
        "tools": dict(sorted(manifest.tools.items())),
    }


def _title(manifest: Manifest) -> str:
    model = manifest.model
    size = Size(model.height, model.width)
    kind = f"{model.attn_mechanism}, {model.attn_type}"
    return f"{kind}, {model.frames} frames of {size} px, {manifest.precision}"


def _engine(record: Record, engine: EngineEntry) -> dict[str, Any]:
    figures = record.engines.get(engine.file)
    return {
        **plain(engine),
        "size_bytes": record.manifest.files[engine.file].size_bytes,
        "build_seconds": None if figures is None else figures.build_seconds,
        "built": {} if figures is None else vars(figures.built),
    }


def _plan_chart(plan: PlanRecord) -> str:
    """In the order of execution, which a JSON object does not keep."""
    title = f"Bytes moved by each block of the plan for {plan.target}, by kind of kernel"
    moved = plan.bytes_by_block_and_kind
    rows = {block.name: {kind.name: moved[block.name][kind.name] for kind in plan.by_kind} for block in plan.by_block}
    return charts.stacked_bars(rows, title=title, unit="MB", scale=1e6)


def _summary(manifest: Manifest) -> dict[str, Any]:
    """How many gates ended how, the worst first. No single word for all of them: half a proof is not green."""
    found = Counter(verdict.status for verdict in manifest.verdicts)
    order = (Status.FAILED, Status.INCONCLUSIVE, Status.PASSED, Status.NOT_RUN)
    counts = {status.value: found[status] for status in order if found[status]}
    said = [f"{count} {status.replace('_', ' ')}" for status, count in counts.items()]
    return {"counts": counts, "sentence": ", ".join(said) or "none was run"}


def _markdown_cell(value: object) -> str:
    """Text that cannot end its cell, start a tag or become markup."""
    text = str(value).replace("\\", "\\\\")
    for letter in "|`*_[]<>#":
        text = text.replace(letter, f"\\{letter}")
    return " ".join(text.split())
