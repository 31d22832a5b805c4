"""The report: one record (``report.json``), and two readings of it (``report.md``, ``report.html``)."""

from ftsf_export.bundle.manifest import REPORT_NAMES as REPORT_NAMES
from ftsf_export.report.record import Command as Command
from ftsf_export.report.record import EngineFigures as EngineFigures
from ftsf_export.report.record import Record as Record
from ftsf_export.report.record import ShownClip as ShownClip
from ftsf_export.report.record import ShownFrame as ShownFrame
from ftsf_export.report.record import StageTime as StageTime
from ftsf_export.report.record import record_from_bytes as record_from_bytes
from ftsf_export.report.render import render as render
