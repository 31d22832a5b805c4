"""Names of a model's classes: those of its bundle, or of a file; and which class a name or number means."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from ftsf_export.errors import UsageError
from ftsf_export.user_file import content_of

_MOST_BYTES = 16 << 20


def labels_from_file(path: Path, classes: int) -> tuple[str, ...]:
    """The names of ``classes`` classes in the order of the logits.

    The file has one name a line; or, as JSON, a list of names, an object of numbers and names or of names and numbers;
    or, as a CSV, the columns id and name. Raises UsageError where it does not read or has other numbers than 0 to
    ``classes`` - 1, each once.
    """
    text = content_of(path, expected="a file of class names", most=_MOST_BYTES, about="labels: ").decode(
        "utf-8-sig", errors="replace"
    )
    try:
        numbered = _numbered(text, path.suffix.lower())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"labels: {path}: {error}") from error
    names = dict(numbered)
    if len(numbered) != classes or set(names) != set(range(classes)):
        raise UsageError(
            f"labels: {path}: expected the names of {classes} classes, numbered from 0, got {len(numbered)}"
            + ("" if len(numbered) != classes else " with other numbers")
        )
    return tuple(names[index] for index in range(classes))


def _numbered(text: str, suffix: str) -> list[tuple[int, str]]:
    if suffix == ".json":
        told = json.loads(text)
        if isinstance(told, dict):
            pairs = [(name, index) if isinstance(index, int) else (index, name) for name, index in told.items()]
            return [(int(index), str(name)) for name, index in pairs]
        if isinstance(told, list) and all(isinstance(name, str) for name in told):
            return list(enumerate(told))
        raise ValueError("expected a list of names, or an object of numbers and names")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if suffix == ".csv":
        rows = list(csv.DictReader(lines))
        if not rows or not {"id", "name"} <= set(rows[0]):
            raise ValueError("expected the columns id and name")
        return [(int(row["id"]), row["name"]) for row in rows]
    return list(enumerate(lines))


class ClassNumbers:
    """The number of a class by what a list or a folder calls it: its name, in any case, with "_" for blanks, or its
    number."""

    def __init__(self, labels: Sequence[str] | None, classes: int) -> None:
        self._classes = classes
        self._numbers = {} if labels is None else {_plain(label): index for index, label in enumerate(labels)}
        self._exact = {} if labels is None else {label: index for index, label in enumerate(labels)}

    def __call__(self, told: str) -> int | None:
        """None where no class is meant."""
        found = self._exact.get(told, self._numbers.get(_plain(told)))
        if found is None and told.isascii() and told.isdigit() and len(told) < 10 and int(told) < self._classes:
            return int(told)
        return found


def _plain(label: str) -> str:
    return " ".join(label.replace("_", " ").casefold().split())
