"""Weights in several files, with an index that says which tensor lies where: ``model.safetensors.index.json``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ftsf_export.checkpoint.settings import Settings
from ftsf_export.checkpoint.tensors import MAX_FILE_BYTES, TensorFile, open_tensors
from ftsf_export.errors import UsageError

SUFFIX = ".index.json"
# Names beside the index alone: no path may lead out of the directory.
_NAME = re.compile(r"\w[\w.-]{0,254}\.(safetensors|bin)", re.ASCII)
_MOST_FILES = 1024


@dataclass(frozen=True, kw_only=True)
class ShardedTensors(TensorFile):
    """The tensors of several files, as if they were one; ``path`` is the index's."""

    parts: tuple[TensorFile, ...]  #: The files, by name.

    def sha256(self) -> str:
        """SHA-256 of the lines that ``sha256sum`` prints for the files, in the order of their names."""
        lines = "".join(f"{part.sha256()}  {part.path.name}\n" for part in self.parts)
        return hashlib.sha256(lines.encode()).hexdigest()

    def read(self) -> dict[str, Tensor]:
        return {name: tensor for part in self.parts for name, tensor in part.read().items()}


def open_shards(index: Path) -> ShardedTensors:
    """Names and shapes of the tensors in the files of ``index``.

    Raises UsageError where the index does not read, names a file that is not beside it, or says of a tensor what is
    not so.
    """
    settings = Settings.of_file(index)
    where = settings.raw("weight_map")
    if not isinstance(where, dict) or not where:
        settings.note("weight_map", "the file of each tensor", where)
        settings.finish()
        raise AssertionError("what is noted is raised")
    files = sorted({name for name in where.values() if isinstance(name, str) and _NAME.fullmatch(name)})
    if strange := [name for name in where.values() if name not in files]:
        settings.note("weight_map", "names of files beside it", strange[0])
    if len(files) > _MOST_FILES:
        settings.note("weight_map", f"at most {_MOST_FILES} files", len(files))
    settings.finish()
    parts = tuple(open_tensors(index.parent / name) for name in files)
    size = sum(part.path.stat().st_size for part in parts)
    if size > MAX_FILE_BYTES:
        raise UsageError(f"checkpoint: {index}: at most {MAX_FILE_BYTES} bytes are read, its files have {size}")
    found = {part.prefix + name: part.path.name for part in parts for name in part.shapes}
    if wrong := sorted(name for name in found.keys() | where.keys() if found.get(name) != where.get(name)):
        raise UsageError(
            f"checkpoint: {index}: {wrong[0]}: expected in {where.get(wrong[0])}, found in {found.get(wrong[0])}"
        )
    shapes = {name: shape for part in parts for name, shape in part.shapes.items()}
    return ShardedTensors(path=index, shapes=shapes, parts=parts)
