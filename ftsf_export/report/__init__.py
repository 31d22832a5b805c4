"""The report: one record (``report.json``), and two readings of it (``report.md``, ``report.html``)."""

from ftsf_export.report.record import (
    REPORT_NAMES,
    Command,
    EngineFigures,
    Record,
    StageTime,
    record_from_bytes,
)
from ftsf_export.report.render import render

__all__ = ["REPORT_NAMES", "Command", "EngineFigures", "Record", "StageTime", "record_from_bytes", "render"]
