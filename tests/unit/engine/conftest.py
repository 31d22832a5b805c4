"""Recorded builds: the layers and memory lines of tensorrt_rtx 1.7.1, and the products of the networks behind them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ftsf_export.engine.kernel_plan import Plan, plan_from_log
from ftsf_export.engine.request import Product

DATA = Path(__file__).parent / "data"

ReadPlan = Callable[[str], Plan]
ReadProducts = Callable[[str], tuple[Product, ...]]


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA


@pytest.fixture(scope="session")
def recorded() -> ReadPlan:
    """A plan by the name of its record; every line must be known."""

    def read(name: str) -> Plan:
        return plan_from_log((DATA / f"{name}.log").read_text(encoding="utf-8").splitlines(), strict=True)

    return read


@pytest.fixture(scope="session")
def recorded_products() -> ReadProducts:
    def read(name: str) -> tuple[Product, ...]:
        rows = json.loads((DATA / f"{name}.products.json").read_text(encoding="utf-8"))
        return tuple(Product(node, kind, tuple(types)) for node, kind, types in rows)

    return read
