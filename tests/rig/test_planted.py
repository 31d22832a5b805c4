"""The rig itself: each fault that it is for is planted once, and it says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Say = Callable[..., Any]
LEAST = 20
# Nothing refuses these on hardware, nor here: what comes of them shows it.
SILENT = {"a result read before it is there"}


def test_every_planted_fault_is_found(say: Say, kernels: Path) -> None:
    found = say("planted.py", kernels)
    for name, (_, complaints) in found.items():
        print(f"{name:65} {'; '.join(complaints) or 'poison'}")
    assert len(found) >= LEAST
    assert {name for name, (status, _) in found.items() if not status} == set()
    assert {name for name, (_, complaints) in found.items() if not complaints} == SILENT
