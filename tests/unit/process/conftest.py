"""Children of ``served``, and what is left of processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def served_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


@pytest.fixture
def gone() -> Callable[[int], bool]:
    def wait(pid: int, within_s: float = 10.0) -> bool:
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if not alive(pid):
                return True
            time.sleep(0.02)
        return False

    return wait


def alive(pid: int) -> bool:
    try:
        # A zombie that nobody has waited for is not alive.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
