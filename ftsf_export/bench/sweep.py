"""The grid of a sweep: every combination of what was asked, each an export of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ftsf_export.bench.request import BenchRequest
from ftsf_export.config import ExportConfig
from ftsf_export.errors import ConfigError
from ftsf_export.strict_json import plain

# In the order of a cell's name, and of the grid: the last changes fastest.
AXES = ("checkpoint", "attn_type", "frames", "attn", "precision", "batch", "size")
_MOST_CELLS = 1000


@dataclass(frozen=True)
class Cell:
    """One export of the grid."""

    name: str  #: A file name that no other cell of the grid has.
    config: ExportConfig  #: What is exported.
    target: str  #: Machine that the graph is compiled for; "" for the usual one.
    bench: BenchRequest | None  #: What is measured; None: nothing, where no GPU is here.
    made_by: str  #: The program and its version: another one may find something else.

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides the result, the state of the files that are read included."""
        asked = {**self.config.written(), "files": [_state(path) for path in _files(self.config)]}
        bench = None if self.bench is None else plain(self.bench)
        text = json.dumps([self.made_by, asked, self.target, bench], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def cells_of(
    axes: Mapping[str, Sequence[Any]],
    others: Mapping[str, Any],
    *,
    target: str,
    bench: BenchRequest | None,
    made_by: str,
) -> tuple[Cell, ...]:
    """Every combination of the values of ``axes`` (names of AXES; an empty one has the configuration's default).

    ``others``: fields that all cells share. Raises ConfigError with all that is wrong in any of them.
    """
    given = {name: tuple(dict.fromkeys(axes.get(name, ()))) for name in AXES}
    problems: list[str] = []
    cells: list[Cell] = []
    grid = [
        dict(zip(given, values, strict=True)) for values in product(*(values or (None,) for values in given.values()))
    ]
    if len(grid) > _MOST_CELLS:
        raise ConfigError([f"the grid has {len(grid)} cells; at most {_MOST_CELLS} are swept at once"])
    for values in grid:
        written = {name: value for name, value in values.items() if value is not None}
        try:
            config = ExportConfig(**others, **written)
        except ConfigError as error:
            problems += error.problems
            continue
        cells.append(Cell(_name(config, written), config, target, bench, made_by))
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    names = [cell.name for cell in cells]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError([f"{twice[0]}: two cells of the grid are the same; each value once, as 224 or as 224x224"])
    return tuple(cells)


def _name(config: ExportConfig, written: Mapping[str, Any]) -> str:
    """What tells a cell from the others. A checkpoint brings what was not written, and its name stands for that."""
    said = set(written) if config.checkpoint is not None else set(AXES)
    parts = [] if config.checkpoint is None else [config.checkpoint.name.split("@")[0]]
    parts += [getattr(config, name) for name in ("attn", "attn_type") if name in said]
    parts += ["x".join(str(getattr(config, name)) for name in ("frames", "size") if name in said)]
    parts += [f"b{config.batch}".replace(":", "to"), config.precision]
    return "-".join(part for part in parts if part)


def _files(config: ExportConfig) -> tuple[Path, ...]:
    return tuple(path for path in (config.checkpoint, config.held_out, *config.videos) if path is not None)


def _state(path: Path) -> list[Any]:
    """Name, bytes and last change of a file, or of all files of a directory; what is not here is a name alone."""
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    known = [one.stat() for one in files if one.exists()]
    return [str(path), sum(one.st_size for one in known), max((one.st_mtime_ns for one in known), default=0)]
