"""Rules of single fields of a request, and the converters that come before them.

A converter turns what a caller may write into the field's own type, and leaves alone what it does not know, so that
the rule can name it. Nothing here raises.
"""

from __future__ import annotations

import operator
import os
from pathlib import Path
from typing import Any

from fast_timesformer.rules import POSITIVE, Rule, optional, whole

MAX_SEED = 2**63 - 1
SEED = whole(0, MAX_SEED)
# 16 TiB: more than any machine has, and far from where a compiler's 64 bits end.
MAX_WORKSPACE_MIB = 1 << 24
WORKSPACE_MIB = optional(whole(1, MAX_WORKSPACE_MIB, of="MiB"))
LIMIT = optional(POSITIVE)
CALIBRATION_CLIPS = whole(1, 10_000, of="clips")
PATH = optional(Rule("a path", lambda value: isinstance(value, Path)))
PATHS = Rule("a list of paths", lambda value: isinstance(value, tuple) and all(isinstance(i, Path) for i in value))
NAMES = Rule("a list of names", lambda value: isinstance(value, tuple) and all(isinstance(i, str) and i for i in value))


def to_whole(value: Any) -> Any:
    """Integers of other libraries (NumPy) become int; anything else is left for the rule to name."""
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
