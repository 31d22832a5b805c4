"""A configuration of OpenMMLab, which is a Python program: read as what it says, and never run.

``pretty_text`` of such a configuration, as checkpoints keep it, is a row of assignments of plain values: numbers,
texts, lists, ``dict(...)``. What is anything else (a call, a name) is left out.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

_LONGEST_TEXT = 2**20


def settings_of(text: str) -> dict[str, Any]:
    """Name -> value of every assignment of plain values; nothing of a text that is no Python."""
    try:
        program = ast.parse(text[:_LONGEST_TEXT])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[str, Any] = {}
    for line in program.body:
        if isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name):
            found[line.targets[0].id] = _plain(line.value, found)
    return found


def _plain(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """The value of an expression; None for what is not plain. ``known``: what names stand for so far."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return known.get(name)
        case ast.List(elts=each) | ast.Tuple(elts=each):
            return [_plain(one, known) for one in each]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Dict(keys=keys, values=values):
            return {
                key.value: _plain(value, known)
                for key, value in zip(keys, values, strict=True)
                if isinstance(key, ast.Constant)
            }
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            return {one.arg: _plain(one.value, known) for one in keywords if one.arg is not None}
    return None


def part(settings: object, *path: str) -> Any:
    """What lies below ``settings`` at ``path``; None where nothing does."""
    for name in path:
        settings = settings.get(name) if isinstance(settings, Mapping) else None
    return settings


def numbers(value: Any) -> tuple[float, ...]:
    """A list of numbers; none where one of them is no number."""
    each = value if isinstance(value, list) else [value]
    good = all(isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < 2**31 for one in each)
    return tuple(map(float, each)) if good else ()


def count(value: Any, *, most: int = 4096) -> int | None:
    """A whole number from 1 to ``most``; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most else None
