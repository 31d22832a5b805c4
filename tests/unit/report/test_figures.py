"""Figures: three digits, and no rounding that hides a fault."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ftsf_export.report.figures import limit_name, measured, megabytes, number, percent
from ftsf_export.report.measures import share_of_limit, table_from_measures
from ftsf_export.verdict import SHARE, Bound, Measure


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (86, "86"),
        (1243, "1\u202f243"),
        (0.01746, "0.0175"),
        (4.43e-7, "4.43e-7"),
        (1.5e12 + 0.5, "1.50e12"),
        (12345.6, "12346"),
        (-0.5, "-0.5"),
        ("nan", "NaN"),
        ("-inf", "−∞"),
        (math.inf, "∞"),
        (math.nan, "NaN"),
        (None, "–"),
    ],
)
def test_number(value: object, said: str) -> None:
    assert number(value) == said


def test_each_metric_in_its_manner() -> None:
    assert measured(Measure(output="a", metric="cosine", value=0.9999996)) == "0.9999996"
    assert measured(Measure(output="a", metric="cosine", value=math.nan)) == "NaN"
    assert measured(Measure(output="a", metric="top1_agreement", value=0.9999, unit=SHARE)) == "99.99\u202f%"
    assert measured(None) == ""


@pytest.mark.parametrize(
    ("limit", "unit", "said"),
    [
        (1e-5, "", "1e-5"),
        (0.01, "", "0.01"),
        (1e12, "", "1e12"),
        (1.0, SHARE, "100\u202f%"),
        (None, "", ""),
    ],
)
def test_limit(limit: float | None, unit: str, said: str) -> None:
    assert limit_name(limit, unit) == said


def test_sizes_never_read_as_nothing() -> None:
    assert megabytes(1800) == "1.8\u202fkB"
    assert megabytes(136_000_000) == "136.0\u202fMB"
    assert megabytes(None) == "–"
    assert percent(1e-6) == "< 0.1\u202f%"
    assert percent(math.inf) == "over"


def measure(value: float, limit: float | None, *, bound: Bound = Bound.AT_MOST) -> Measure:
    return Measure(output="a", metric="rel_l2", value=value, limit=limit, bound=bound)


@pytest.mark.parametrize(
    ("taken", "share"),
    [
        (measure(0.5, 2.0), 0.25),
        (measure(4.0, 2.0), 2.0),
        (measure(math.nan, 2.0), math.inf),
        (measure(math.inf, 2.0), math.inf),
        (measure(5.0, None), 0.0),
        (measure(math.inf, None), math.inf),
        (measure(3, 0), math.inf),
        (measure(0, 0), 0.0),
        (measure(1.0, 0.99, bound=Bound.AT_LEAST), 0.0),
        (measure(0.5, 0.99, bound=Bound.AT_LEAST), math.inf),
    ],
)
def test_share_of_limit(taken: Measure, share: float) -> None:
    assert share_of_limit(taken) == share


def test_one_limit_for_a_column_only_where_all_agree() -> None:
    same = table_from_measures([measure(1, 2.0), replace(measure(1, 2.0), output="b")])
    other = table_from_measures([measure(1, 2.0), replace(measure(1, 3.0), output="b")])
    assert same.columns[0].limit == 2.0
    assert other.columns[0].limit is None
