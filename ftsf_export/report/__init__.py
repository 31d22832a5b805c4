"""The report: data (``report.json``), and two readings of it (``report.md``, ``report.html``)."""

from ftsf_export.report.render import REPORT_NAMES, render_html, render_markdown, report_files, write_report
from ftsf_export.report.report import Command, GraphFigures, Report, report_from_manifest

__all__ = [
    "REPORT_NAMES",
    "Command",
    "GraphFigures",
    "Report",
    "render_html",
    "render_markdown",
    "report_files",
    "report_from_manifest",
    "write_report",
]
