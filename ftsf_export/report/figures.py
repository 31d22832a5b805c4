"""Figures as a reader wants them: three digits, a unit, and never a rounding that hides a fault."""

from __future__ import annotations

import math
import re
from typing import Any

from ftsf_export.verdict import SHARE, Measure

_NAMES = {
    "rel_l2": "relative L2",
    "max_abs": "max. absolute",
    "spread_error": "error / spread",
    "cosine": "cosine",
    "top1_agreement": "top-1 equal",
    "top5_agreement": "top-5 shared",
    "clips_apart": "clips apart",
    "clip_spread_error": "error / clips' spread",
    "best_classes": "best classes",
    "reference_noise": "eager FP32 to float64",
}
_NON_FINITE = {"nan": "NaN", "inf": "∞", "-inf": "−∞"}
_NONE = "–"


def number(value: Any) -> str:
    """Three significant digits; whole numbers in full; "nan" and "inf" (as JSON holds them) by their signs."""
    if value is None:
        return _NONE
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if not math.isfinite(value):
        return _NON_FINITE[str(float(value))]
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def measured(measure: Measure | None) -> str:
    """A measure's value, in its unit."""
    if measure is None:
        return ""
    if measure.metric == "cosine" and math.isfinite(measure.value):
        # Rounded to three digits, a cosine of 0.9996 would read as 1.
        return f"{measure.value:.7f}"
    if measure.unit == SHARE and math.isfinite(measure.value):
        return f"{100 * measure.value:.4g}\u202f%"
    return number(measure.value)


def limit_name(limit: float | None, unit: str) -> str:
    """A limit as it was written ("1e-5"), in its unit."""
    if limit is None:
        return ""
    if unit == SHARE:
        return f"{100 * limit:.4g}\u202f%"
    return re.sub(r"e([+-])0*", lambda sign: "e" + sign[1].replace("+", ""), f"{limit:g}")


def metric_name(metric: str) -> str:
    return _NAMES.get(metric, metric.replace("_", " "))


def megabytes(size_bytes: float | None) -> str:
    """The size in MB of 10^6 bytes, as data sheets count; what would read 0.0 MB in kB."""
    if size_bytes is None:
        return _NONE
    if 0 < size_bytes < 1e5:
        return f"{size_bytes / 1e3:.1f}\u202fkB"
    return f"{size_bytes / 1e6:,.1f}\u202fMB"


def bound(least_ms: float | None) -> str:
    """A roofline's least time; kernels take microseconds."""
    return _NONE if least_ms is None else f"{least_ms:.3f}\u202fms"


def gflop(flops: int) -> str:
    return f"{flops / 1e9:,.1f}\u202fGFLOP" if abs(flops) >= 1e9 else f"{flops / 1e9:,.3f}\u202fGFLOP"


def part(share: float) -> str:
    """A part of a whole, never rounded up to all of it."""
    return f"{math.floor(share * 1000) / 10:g}\u202f%"


def millions(count: int) -> str:
    return f"{count / 1e6:.1f}\u202fM" if count >= 1e6 else number(count)


def seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1f}\u202fs"


def milliseconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}\u202fms" if value < 100 else f"{value:.0f}\u202fms"


def score(value: float) -> str:
    """A class's score after softmax; one that is not all is never rounded up to it."""
    return f"{min(value, 0.99999):.3%}".replace("%", "\u202f%") if value < 1 else "100\u202f%"


def precise_milliseconds(value: float | None) -> str:
    """For figures to be compared: three digits, also of a bound of microseconds."""
    return _NONE if value is None else f"{number(value)}\u202fms"


def percent(share: float) -> str:
    """A share of a limit; below a thousandth it is just that."""
    if not math.isfinite(share):
        return "over"
    return f"{100 * share:.2g}\u202f%" if share >= 1e-3 else "< 0.1\u202f%"
