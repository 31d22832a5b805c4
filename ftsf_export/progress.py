"""How a stage says what it is doing. Values only: who shows it, and how, is decided at the command line."""

from __future__ import annotations

from collections.abc import Callable

# What is going on now, and how far it is: 0 to 1, or None where nobody knows.
OnProgress = Callable[[str, "float | None"], None]


def silent(_stage: str, _fraction: float | None = None) -> None:
    """Says nothing, for callers who do not want to know."""
