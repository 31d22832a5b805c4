"""Verdicts: what no evidence bears out cannot be said."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ftsf_export.verdict import Bound, Measure, Status, Subject, Verdict

SUBJECT = Subject("model.onnx", "0" * 64)
KEPT = Measure(output="logits", metric="rel_l2", value=0.5, limit=1.0)
BROKEN = replace(KEPT, value=2.0)
REPORTED = Measure(output="logits", metric="cosine", value=1.0)


@pytest.mark.parametrize(
    ("value", "bound", "passed"),
    [
        (1.0, Bound.AT_MOST, True),
        (1.1, Bound.AT_MOST, False),
        (1.0, Bound.AT_LEAST, True),
        (0.9, Bound.AT_LEAST, False),
        *((value, bound, False) for value in (math.nan, math.inf, -math.inf) for bound in Bound),
    ],
)
def test_a_measure_knows_whether_more_is_better(value: float, bound: Bound, passed: bool) -> None:
    assert Measure(output="a", metric="m", value=value, limit=1.0, bound=bound).passed is passed


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_does_not_pass_without_a_limit_either(value: float) -> None:
    assert not replace(REPORTED, value=value).passed
    assert REPORTED.passed


@pytest.mark.parametrize("limit", [math.nan, math.inf])
def test_a_limit_is_a_number(limit: float) -> None:
    with pytest.raises(ValueError, match="is no number"):
        replace(KEPT, limit=limit)


def test_the_sentence_says_on_which_side_of_the_limit() -> None:
    assert KEPT.sentence() == "logits: rel_l2 0.5, limit at most 1"
    assert replace(KEPT, bound=Bound.AT_LEAST).sentence() == "logits: rel_l2 0.5, limit at least 1"


def test_passed_against_its_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match=r"passed against its evidence: logits: rel_l2 2, limit at most 1"):
        Verdict(gate="g", status=Status.PASSED, subject=SUBJECT, measures=(KEPT, BROKEN))


@pytest.mark.parametrize("measures", [(), (REPORTED,)])
def test_passed_with_nothing_judged_is_refused(measures: tuple[Measure, ...]) -> None:
    with pytest.raises(ValueError, match="no evidence"):
        Verdict(gate="g", status=Status.PASSED, subject=SUBJECT, measures=measures)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PASSED])
def test_whatever_did_not_pass_says_why(status: Status) -> None:
    with pytest.raises(ValueError, match="without a reason"):
        Verdict(gate="g", status=status, subject=SUBJECT, measures=(KEPT,))


@pytest.mark.parametrize(("file", "sha256"), [("", "0" * 64), ("model.onnx", ""), ("model.onnx", "0" * 63)])
def test_a_subject_is_a_file_with_its_whole_hash(file: str, sha256: str) -> None:
    with pytest.raises(ValueError, match="a file and its SHA-256"):
        Subject(file, sha256)
