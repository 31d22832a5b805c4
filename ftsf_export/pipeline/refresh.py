"""Keeps a bundle's report true after ``verify``, ``build`` or ``bench`` recorded something new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ftsf_export.bundle import Bundle, record
from ftsf_export.bundle.manifest import REPORT_RECORD
from ftsf_export.errors import BundleError, EnvironmentLacks, OutputError
from ftsf_export.report import EngineFigures, record_from_bytes, render
from ftsf_export.timing import Timing


def refresh_report(
    bundle: Bundle,
    *,
    engines: Mapping[str, EngineFigures] | None = None,
    timings: Iterable[Timing] = (),
) -> tuple[Bundle, str]:
    """The bundle with its report rendered anew, and why that was not possible ("" when it was).

    A device may have no Jinja2 to render with, or a read-only disk; the manifest's verdicts do not depend on either.
    """
    if REPORT_RECORD not in bundle.manifest.files:
        return bundle, "the bundle has no report"
    try:
        new = record_from_bytes(bundle.read(REPORT_RECORD), str(bundle.path / REPORT_RECORD)).refreshed(
            bundle.manifest, engines=engines, timings=tuple(timings)
        )
        return record(bundle, files=dict(render(new))), ""
    except (EnvironmentLacks, OutputError, BundleError) as error:
        return bundle, error.message
