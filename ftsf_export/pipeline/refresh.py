"""Keeps a bundle's report true after ``verify``, ``build`` or ``bench`` recorded something new."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ftsf_export.bundle import Bundle, record
from ftsf_export.errors import BundleError, EnvironmentLacks, OutputError
from ftsf_export.report import Report, report_files

_REPORT = "report.json"


def refresh_report(
    bundle: Bundle,
    *,
    sidecars: Mapping[str, Mapping[str, Any]] | None = None,
    build_seconds: Mapping[str, float] | None = None,
    timings: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[Bundle, str]:
    """The bundle with its report rendered anew, and why that was not possible (empty when it was).

    A device may have no Jinja2 to render with, or a read-only disk; the manifest's verdicts do not depend on either.
    """
    if _REPORT not in bundle.manifest.files:
        return bundle, "the bundle has no report"
    try:
        old = Report.from_dict(json.loads((bundle.path / _REPORT).read_bytes()))
        new = old.refreshed(bundle.manifest, sidecars=sidecars, build_seconds=build_seconds, timings=timings)
        return record(bundle, files=dict(report_files(new))), ""
    except (EnvironmentLacks, OutputError, BundleError) as error:
        return bundle, error.message
