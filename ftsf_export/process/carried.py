"""An error on its way from the child to the parent: ours arrive as themselves, others as their last line."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

from ftsf_export.errors import FtsfError


def json_of(error: Exception) -> dict[str, Any]:
    """The JSON form of the error that is being handled."""
    trace = traceback.format_exc()
    told: dict[str, Any] = {"classes": [], "said": trace.strip().splitlines()[-1], "traceback": trace}
    if isinstance(error, FtsfError):
        told["classes"] = [kind.__name__ for kind in type(error).__mro__]
        told["fields"] = {name: value for name, value in vars(error).items() if isinstance(value, (str, tuple))}
    return told


def error_from_json(told: dict[str, Any]) -> FtsfError | None:
    """The error of ours, of its own class or of the nearest one that this process knows; None for any other's."""
    known = {kind.__name__: kind for kind in _tree(FtsfError)}
    kind = next((known[name] for name in told["classes"] if name in known), None)
    if kind is None:
        return None
    # Not by its constructor: each class has its own, and what it makes of its arguments is in the fields.
    error = kind.__new__(kind, told["fields"]["message"])
    vars(error).update({name: tuple(v) if isinstance(v, list) else v for name, v in told["fields"].items()})
    return error


def _tree(kind: type[FtsfError]) -> Iterator[type[FtsfError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)
