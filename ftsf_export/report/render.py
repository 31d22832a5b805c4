"""``report.md`` and ``report.html`` from the values of ``report.json``, through templates (Jinja2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsf_export.bundle.fields import bytes_from_json
from ftsf_export.errors import EnvironmentLacks
from ftsf_export.report import charts, figures
from ftsf_export.report.measures import table_from_measures
from ftsf_export.report.report import CPU, Report
from ftsf_export.verdict import Status, Verdict

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT_NAMES = ("report.json", "report.md", "report.html")
INSTALL = "pip install 'ftsf-export[export]'"
_SHOWN_ROWS = 6
_FILTERS = (
    *("number", "measured", "limit_name", "metric_name", "status_name", "size_name"),
    *("seconds", "milliseconds", "millions", "percent", "shape", "capabilities", "megabytes", "gflop", "part", "bound"),
)


def report_files(report: Report) -> dict[str, bytes]:
    """Name -> content of the three files. Raises EnvironmentLacks without Jinja2."""
    data = report.as_dict()
    return {
        "report.json": bytes_from_json(data),
        "report.md": render_markdown(data).encode(),
        "report.html": render_html(data).encode(),
    }


def write_report(report: Report, folder: Path) -> None:
    """Writes the three files into ``folder``. Raises OSError as the disk does, EnvironmentLacks without Jinja2."""
    for name, content in report_files(report).items():
        (folder / name).write_bytes(content)


def render_markdown(data: Mapping[str, Any]) -> str:
    """``data`` as in ``report.json``."""
    return _environment(escaped=False).get_template("report.md.j2").render(_view(data))


def render_html(data: Mapping[str, Any]) -> str:
    """One file that needs nothing else: styles inside, no script, no font, no address. ``data`` as in report.json."""
    return _environment(escaped=True).get_template("report.html.j2").render(_view(data))


def _environment(*, escaped: bool) -> Environment:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise EnvironmentLacks("jinja2: not installed, needed to write the report", install=INSTALL) from error
    folder = files("ftsf_export.report") / "templates"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update({name: getattr(figures, name) for name in _FILTERS}, cell=_markdown_cell)
    return environment


def _view(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data, and what both templates derive from it."""
    verdicts = [{**v, "table": table_from_measures(Verdict.from_dict(v).measures)} for v in data["verdicts"]]
    longest = max((stage["seconds"] for stage in data["stages"]), default=0.0)
    return {
        **data,
        "verdicts": verdicts,
        "summary": _summary(data),
        "pretrained": data["model"].get("pretrained"),
        "raw": ("work", "pretrained"),
        "shown_rows": _SHOWN_ROWS,
        "island_groups": _islands_by_reason(data),
        "plans": [{**plan, "chart": _plan_chart(plan)} for plan in data["plans"]],
        "work": data["model"].get("work"),
        "colour_rules": charts.colour_rules(),
        "gpu_timings": [timing for timing in data["timings"] if not _on_cpu(timing)],
        "cpu_timings": [timing for timing in data["timings"] if _on_cpu(timing)],
        "longest_stage": longest or 1.0,
        "total_seconds": sum(stage["seconds"] for stage in data["stages"]),
    }


def _plan_chart(plan: Mapping[str, Any]) -> str:
    title = f"Bytes moved by each block of the plan for {plan['target']}, by kind of kernel"
    return charts.stacked_bars(plan["bytes_by_block_and_kind"], title=title, unit="MB", scale=1e6)


def _on_cpu(timing: Mapping[str, Any]) -> bool:
    return str(timing["subject"]["heading"]).startswith(CPU)


def _summary(data: Mapping[str, Any]) -> dict[str, Any]:
    """How many gates ended how, the worst first. No single word for all of them: half a proof is not green."""
    found = Counter(verdict["status"] for verdict in data["verdicts"])
    order = (Status.FAILED, Status.INCONCLUSIVE, Status.PASSED, Status.NOT_RUN)
    counts = {status.value: found[status.value] for status in order if found[status.value]}
    said = [f"{count} {figures.status_name(status)}" for status, count in counts.items()]
    return {"counts": counts, "sentence": ", ".join(said) or "none was run"}


def _islands_by_reason(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for island in data["islands"]:
        group = groups.setdefault(island["reason"], {"reason": island["reason"], "nodes": 0, "scopes": []})
        group["nodes"] += island["nodes"]
        group["scopes"].append(island["scope"])
    return list(groups.values())


def _markdown_cell(value: object) -> str:
    """Text that cannot end its cell, start a tag or become markup."""
    text = str(value).replace("\\", "\\\\")
    for letter in "|`*_[]<>#":
        text = text.replace(letter, f"\\{letter}")
    return " ".join(text.split())
