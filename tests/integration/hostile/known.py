"""Faults that are known and not mended yet, each with its reason. The list has to come to nothing."""

from __future__ import annotations

import re

from tests.integration.hostile.case import Finding

# Kind, what was done to the input, and what was found (regular expressions); why that is so for now.
KNOWN: tuple[tuple[str, str, str, str], ...] = ()


def known_fault(finding: Finding) -> str:
    """Why every fault of the finding is expected; "" where one is not."""
    reasons = [_reason(finding, fault) for fault in finding.faults]
    return "; ".join(dict.fromkeys(reasons)) if all(reasons) else ""


def _reason(finding: Finding, fault: str) -> str:
    for kind, what, said, reason in KNOWN:
        if finding.kind == kind and re.search(what, finding.case.what) and re.search(said, fault):
            return reason
    return ""
