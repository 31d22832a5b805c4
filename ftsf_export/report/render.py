"""A record as ``report.json``, ``report.md`` and ``report.html``; the last two through templates (Jinja2)."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from ftsf_export.bundle import ONNX_NAME, CheckpointWeights, EngineEntry, Manifest
from ftsf_export.bundle.manifest import REPORT_PAGE, REPORT_RECORD, REPORT_TEXT
from ftsf_export.config import Size
from ftsf_export.control_characters import shown
from ftsf_export.errors import EnvironmentLacks
from ftsf_export.plan_record import PlanRecord
from ftsf_export.precision import FP32
from ftsf_export.report import charts, figures
from ftsf_export.report.measures import table_from_measures
from ftsf_export.report.record import Command, Record
from ftsf_export.report.standing import WORDS, headline, histogram, standings
from ftsf_export.strict_json import bytes_from_json, plain
from ftsf_export.verdict import WORST_FIRST, Verdict, outcome

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
    text, page = (environment(escaped=escaped) for escaped in (False, True))
    shown = _view(record)
    return {
        REPORT_RECORD: bytes_from_json(record.as_json()),
        REPORT_TEXT: text.get_template(f"{REPORT_TEXT}.j2").render(shown).encode(),
        REPORT_PAGE: page.get_template(f"{REPORT_PAGE}.j2").render(shown).encode(),
    }


def environment(*, escaped: bool) -> Environment:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise EnvironmentLacks("jinja2: not installed, needed to write the report", extra="export") from error
    folder = files("ftsf_export.report") / "templates"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=escaped,
        undefined=StrictUndefined,
        finalize=_page_text if escaped else _markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        {name: one for name, one in vars(figures).items() if isfunction(one)}, code=_markdown_code
    )
    return environment


def _view(record: Record) -> dict[str, Any]:
    """The fields of the record and of its manifest by name, those that the templates show otherwise, and figures."""
    manifest = record.manifest
    verdicts = [_verdict(one) for one in manifest.verdicts]
    return {
        **vars(record),
        **vars(manifest),
        "title": _title(manifest),
        "weights": manifest.weights_described,
        "random_weights": manifest.random_weights,
        "need_fine_tuning": manifest.need_fine_tuning,
        "assumed": manifest.assumed,
        "checkpoint": manifest.weights if isinstance(manifest.weights, CheckpointWeights) else None,
        "asked": manifest.asked.written(),
        "model": plain(manifest.model),
        "tensors": (*manifest.inputs, *manifest.outputs),
        # The weights may lie beside the graph, as external data.
        "graph_bytes": sum(entry.size_bytes for name, entry in manifest.files.items() if name.startswith(ONNX_NAME)),
        "verdicts": verdicts,
        "graph_form": _graph_form(manifest),
        "headline": headline(manifest),
        "standings": standings(manifest),
        "words": WORDS,
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


def _graph_form(manifest: Manifest) -> str:
    """In which form the graph was run for its classes."""
    return f"{ONNX_NAME} in ONNX Runtime" + (
        f", every tensor rounded to {manifest.precision}: a proxy for a GPU" if manifest.precision != FP32.name else ""
    )


def _verdict(verdict: Verdict) -> dict[str, Any]:
    table = table_from_measures(verdict.measures)
    return {**plain(verdict), "table": table, "histogram": histogram(table)}


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
    """The chart has the blocks in the order of execution, which a JSON object does not keep."""
    title = f"Bytes moved by each block of the plan for {plan.target}, by kind of kernel"
    moved = plan.bytes_by_block_and_kind
    rows = {block.name: {kind.name: moved[block.name][kind.name] for kind in plan.by_kind} for block in plan.by_block}
    return charts.stacked_bars(rows, title=title, unit="MB", scale=1e6)


def _summary(manifest: Manifest) -> dict[str, Any]:
    """How many gates ended how, the worst first. No single word for all of them: half a proof is not green."""
    found = Counter(verdict.status for verdict in manifest.verdicts)
    counts = {status.value: found[status] for status in WORST_FIRST if found[status]}
    return {"counts": counts, "sentence": outcome(manifest.verdicts)}


class _Markdown(str):
    """Text of a report that is Markdown already."""


def _markdown(value: object) -> _Markdown:
    """Text that cannot end its cell, its line or its code, start a tag or an entity, or become markup.

    Every value that ``report.md.j2`` prints goes through here.
    """
    if isinstance(value, _Markdown):
        return value
    text = shown(re.sub(r"[ \t\n\r\f\v]+", " ", str(value)))
    text = re.sub(r"[\\|`*_\[\]#~]", r"\\\g<0>", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Bare addresses would become links.
    text = re.sub(r"(?i)(https?|ftp)(?=://)|www(?=\.)", r"\g<0>\\", text)
    # What would make a line a list, a heading or a rule.
    return _Markdown(re.sub(r"^( ?)([-+=]+(?= |$)|\d{1,9}(?=[.)](?: |$)))", _escaped_start, text))


def _escaped_start(found: re.Match[str]) -> str:
    space, mark = found[1], found[2]
    return f"{space}{mark}\\" if mark.isdigit() else f"{space}\\{mark}"


def _markdown_code(value: object) -> _Markdown:
    """One line of a block of code, which it cannot end. Nothing is escaped in such a block."""
    return _Markdown(shown(" ".join(str(value).replace("```", "").split())))


def _page_text(value: object) -> object:
    """What a page prints: Jinja2 escapes its HTML, this shows its control characters."""
    return shown(value, lines=True) if type(value) is str else value
