"""Checks of single fields: each takes a field's name and value and returns one sentence, or "" when the value is sound.

The converters beside them turn what a caller may write into the field's own type, and leave alone what they do not
know, so that the check can name it. Nothing here raises.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_SEED = 2**63 - 1
Check = Callable[[str, Any], str]


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def to_whole(value: Any) -> Any:
    """Integers of other libraries (NumPy) become int; anything else is left for the check to name."""
    if isinstance(value, (bool, str)):
        return value
    try:
        return operator.index(value)
    except TypeError:
        return value


def to_path(value: Any) -> Any:
    return Path(value) if isinstance(value, (str, os.PathLike)) else value


def to_paths(value: Any) -> Any:
    if isinstance(value, (str, os.PathLike)):
        return (Path(value),)
    return tuple(to_path(item) for item in value) if isinstance(value, (list, tuple)) else value


def to_names(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def one_of(*allowed: object) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        # "in" would accept True for 1 and 20.0 for 20.
        if any(type(value) is type(choice) and value == choice for choice in allowed):
            return ""
        return f"{name}: expected one of {', '.join(str(c) for c in allowed if c is not None)}, got {value!r}"

    return check


def whole_number(name: str, value: Any) -> str:
    return "" if is_whole(value) and value >= 1 else f"{name}: expected a whole number of at least 1, got {value!r}"


def whole_number_or_none(name: str, value: Any) -> str:
    return "" if value is None else whole_number(name, value)


def seed(name: str, value: Any) -> str:
    if is_whole(value) and 0 <= value <= MAX_SEED:
        return ""
    return f"{name}: expected a whole number from 0 to {MAX_SEED}, got {value!r}"


def limit(name: str, value: Any) -> str:
    """A tolerance: None, or a number above 0 that is neither NaN nor infinite."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is None or (number and 0 < value < float("inf")):
        return ""
    return f"{name}: expected a number above 0, got {value!r}"


def flag(name: str, value: Any) -> str:
    return "" if isinstance(value, bool) else f"{name}: expected True or False, got {value!r}"


def path(name: str, value: Any) -> str:
    return "" if value is None or isinstance(value, Path) else f"{name}: expected a path, got {value!r}"


def paths(name: str, value: Any) -> str:
    good = isinstance(value, tuple) and all(isinstance(item, Path) for item in value)
    return "" if good else f"{name}: expected a list of paths, got {value!r}"


def names_or_none(name: str, value: Any) -> str:
    if value is None or (isinstance(value, tuple) and all(isinstance(item, str) and item for item in value)):
        return ""
    return f"{name}: expected a list of names, got {value!r}"


def names(_name: str, value: Any) -> str:
    if not isinstance(value, tuple) or not all(isinstance(item, str) and item for item in value):
        return f"target: expected a list of names, got {value!r}"
    return "" if len(set(value)) == len(value) else f"target: each at most once, got {', '.join(value)}"
