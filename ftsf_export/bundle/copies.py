"""Private copies of a bundle's files, for libraries that open a path.

ONNX Runtime, TensorRT's parser and onnx take a path and open it themselves, some of them twice, and look for external
data beside it. A descriptor's path (``/proc/self/fd/3``) has nothing beside it, and what it leads to can still be
written to. So they get a copy in a folder of ours (mode 0700), hashed while it was made: the bytes that they read are
the bytes whose hash held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from ftsf_export.bundle.contents import check_file, opened_bundle
from ftsf_export.bundle.folder import Folder
from ftsf_export.bundle.graph_file import read_graph
from ftsf_export.bundle.hashed import HashedReader
from ftsf_export.bundle.manifest import ONNX_NAME, Manifest
from ftsf_export.disk import scratch_folder, scratch_refusals_translated

_PREFIX = "ftsf-bundle-"


@contextmanager
def copied(root: Path, name: str, manifest: Manifest) -> Iterator[Path]:
    """A copy of the file ``name`` of the bundle ``root``, while it lasts.

    Raises BundleError when the file is not the one that the manifest lists, OutputError when no copy can be written.
    """
    with scratch_folder(_PREFIX) as place:
        with opened_bundle(root) as folder:
            _copy(folder, name, manifest, place)
        yield place / name


@contextmanager
def copied_graph(root: Path, manifest: Manifest) -> Iterator[Path]:
    """A copy of the graph, and of every file with values of its tensors beside it. Raises as ``copied``."""
    with scratch_folder(_PREFIX) as place:
        with opened_bundle(root) as folder:
            _copy(folder, ONNX_NAME, manifest, place)
            for name in _external(place / ONNX_NAME):
                _copy(folder, name, manifest, place)
        yield place / ONNX_NAME


def _copy(folder: Folder, name: str, manifest: Manifest, place: Path) -> None:
    target = place / name
    with scratch_refusals_translated():
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as sink:
            check_file(folder, name, manifest, sink=sink)


def _external(path: Path) -> set[str]:
    with FileIO(path) as stream:
        content = read_graph(HashedReader(stream, path.stat().st_size))
    return {data.location for data in content.external} - {path.name}
