"""Which exact rewrites a graph gets: all of them, unless some are switched off."""

from __future__ import annotations

from collections.abc import Collection

from ftsf_export.errors import UsageError, did_you_mean
from ftsf_export.graph.rewrite import ALL

EVERY = "all"


def chosen_rewrites(on: Collection[str], off: Collection[str]) -> tuple[str, ...]:
    """What the switches ``--rewrite`` and ``--no-rewrite`` leave on.

    ``all`` stands for every name, and a single name wins over it: all off but one is ``on=["temporal-fc"],
    off=["all"]``. Raises UsageError for a name that does not exist, or that is switched on and off.
    """
    known_rewrites({*on, *off} - {EVERY})
    if both := sorted(set(on) & set(off)):
        raise UsageError(f"rewrite: {', '.join(both)}: switched on and off; give one of --rewrite and --no-rewrite")
    first = set() if EVERY in off else ALL - set(off)
    return tuple(sorted(first | (set(on) - {EVERY})))


def known_rewrites(names: Collection[str] | None) -> tuple[str, ...]:
    """``names`` in order, all that there are for None. Raises UsageError listing them for one that does not exist."""
    if names is None:
        return tuple(sorted(ALL))
    if unknown := sorted(set(names) - ALL):
        meant = did_you_mean(unknown[0], sorted(ALL))
        raise UsageError(f"rewrite: expected some of {', '.join(sorted(ALL))}, got {', '.join(unknown)}{meant}")
    return tuple(sorted(set(names)))
