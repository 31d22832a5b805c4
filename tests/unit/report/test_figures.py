"""Figures: three digits, and no rounding that hides a fault."""

from __future__ import annotations

import math

import pytest

from ftsf_export.report.figures import limit_name, measured, number, percent, size_name
from ftsf_export.report.measures import share_of_limit, table_from_measures


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
    assert measured({"metric": "cosine", "value": 0.9999996}) == "0.9999996"
    assert measured({"metric": "cosine", "value": "nan"}) == "NaN"
    assert measured({"metric": "top1_agreement", "value": 0.9999}) == "99.99\u202f%"
    assert measured(None) == ""


@pytest.mark.parametrize(
    ("limit", "metric", "said"),
    [
        (1e-5, "rel_l2", "1e-5"),
        (0.01, "rel_l2", "0.01"),
        (1e12, "x", "1e12"),
        (1.0, "top1_agreement", "100\u202f%"),
        (None, "rel_l2", ""),
    ],
)
def test_limit(limit: float | None, metric: str, said: str) -> None:
    assert limit_name(limit, metric) == said


def test_sizes_never_read_as_nothing() -> None:
    assert size_name(1800) == "1.8\u202fKiB"
    assert size_name(136 << 20) == "136.0\u202fMiB"
    assert size_name(None) == "–"
    assert percent(1e-6) == "< 0.1\u202f%"
    assert percent(math.inf) == "over"


def measure(
    value: float | str, limit: float | None, *, passed: bool = True, metric: str = "rel_l2"
) -> dict[str, object]:
    return {"output": "a", "metric": metric, "value": value, "limit": limit, "passed": passed, "worst_index": None}


@pytest.mark.parametrize(
    ("taken", "share"),
    [
        (measure(0.5, 2.0), 0.25),
        (measure(4.0, 2.0, passed=False), 2.0),
        (measure("nan", 2.0, passed=False), math.inf),
        (measure("inf", None), 0.0),
        (measure(3, 0, passed=False), math.inf),
        (measure(0, 0), 0.0),
        (measure(1.0, 1.0, metric="top1_agreement"), 0.0),
        (measure(0.9, 1.0, metric="top1_agreement", passed=False), math.inf),
        (measure(1.0, 0.99, metric="share in fp16"), 0.0),
        (measure(0.5, 0.99, metric="share in fp16", passed=False), math.inf),
    ],
)
def test_share_of_limit(taken: dict[str, object], share: float) -> None:
    assert share_of_limit(taken) == share


def test_one_limit_for_a_column_only_where_all_agree() -> None:
    same = table_from_measures([measure(1, 2.0), {**measure(1, 2.0), "output": "b"}])
    other = table_from_measures([measure(1, 2.0), {**measure(1, 3.0), "output": "b"}])
    assert same.columns[0].limit == 2.0
    assert other.columns[0].limit is None
    assert not other.columns[0].shared
