"""An ONNX file that is in no bundle, opened as carefully as one in it: by descriptors, hashed while it was copied.

Values of its tensors may lie in files of the same folder, and nowhere else; neither they nor the file may be links,
but for those in the path that the user gave.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ftsf_export.bundle.any_graph import AnyGraph, read_any_graph
from ftsf_export.bundle.files import name_problem
from ftsf_export.bundle.folder import Folder, opened
from ftsf_export.bundle.graph_content import ExternalData
from ftsf_export.bundle.hashed import CutShort, HashedReader
from ftsf_export.bundle.protobuf import UnreadableGraph
from ftsf_export.disk import scratch_folder, scratch_refusals_translated
from ftsf_export.errors import UsageError

_GIB = 1 << 30
# Protobuf ends at 2 GiB; what lies beside it is held to what a bundle may hold.
_LARGEST, _LARGEST_SUM = 2 * _GIB, 64 * _GIB


@dataclass(frozen=True)
class OnnxFile:
    """A private copy of an ONNX file."""

    path: Path  #: The copy; the values of its tensors are beside it.
    sha256: str  #: Of the file without what lies beside it.
    graph: AnyGraph  #: What it holds.


@contextmanager
def copied_onnx(path: Path) -> Iterator[OnnxFile]:
    """The file at ``path``, while the copy lasts.

    Raises UsageError when it is no ONNX file, or refers to what it may not; OutputError where no copy can be written.
    """
    real = path.resolve()
    with scratch_folder("ftsf-onnx-") as place:
        try:
            with opened(real.parent) as folder:
                target = place / real.name
                graph, sha256 = _copied_graph(folder, real.name, path, target)
                _copy_beside(folder, graph.external, path, target)
        except FileNotFoundError as error:
            raise UsageError(f"{path}: no such file") from error
        except NotADirectoryError as error:
            raise UsageError(f"{path.parent}: a file, not a folder") from error
        yield OnnxFile(path=target, sha256=sha256, graph=graph)


def _copied_graph(folder: Folder, name: str, path: Path, target: Path) -> tuple[AnyGraph, str]:
    with folder.loose_file(name, str(path)) as stream, scratch_refusals_translated(), target.open("xb") as sink:
        size = os.fstat(stream.fileno()).st_size
        if size > _LARGEST:
            raise UsageError(f"{path}: {size} bytes: an ONNX file has at most {_LARGEST}; is this one?")
        reader = HashedReader(stream, size, sink)
        try:
            return read_any_graph(reader), reader.finish()
        except (UnreadableGraph, CutShort) as error:
            raise UsageError(f"{path}: not a readable ONNX file: {error}") from error


def _copy_beside(folder: Folder, external: tuple[ExternalData, ...], path: Path, target: Path) -> None:
    ends: dict[str, int] = {}
    for data in external:
        what = f"{path}: the values of {data.tensor[:200]!r} lie in {data.location[:200]!r}"
        if name_problem(data.location) or "/" in data.location or data.location == target.name:
            raise UsageError(f"{what}; expected a file beside it")
        ends[data.location] = max(ends.get(data.location, 0), data.offset + (data.length or 0))
    copied = 0
    for name, end in ends.items():
        shown = str(path.parent / name)
        with folder.loose_file(name, shown) as stream, scratch_refusals_translated():
            size = os.fstat(stream.fileno()).st_size
            copied += size
            if end > size or copied > _LARGEST_SUM:
                raise UsageError(
                    f"{shown}: {size} bytes; {path.name} reads {end} of it, and at most {_LARGEST_SUM} are taken"
                )
            with (target.parent / name).open("xb") as sink:
                try:
                    HashedReader(stream, size, sink).skip(size)
                except CutShort as error:
                    raise UsageError(f"{shown}: {error}") from error
