"""What is in the directory of a bundle, held against its manifest: every file, by descriptor, before any is used.

``docs/opening.md`` says how each use of a file is bound to what was hashed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ftsf_export.bundle.files import name_problem
from ftsf_export.bundle.folder import Folder, opened
from ftsf_export.bundle.graph_content import GraphContent
from ftsf_export.bundle.graph_file import ForeignGraph, read_graph
from ftsf_export.bundle.hashed import CutShort, HashedReader, Sink
from ftsf_export.bundle.manifest import (
    GOLDEN_NAME,
    MANIFEST_NAME,
    ONNX_NAME,
    PENDING_FOLDER,
    REPORT_RECORD,
    REQUIRED_FILES,
    FileEntry,
    Manifest,
)
from ftsf_export.bundle.protobuf import UnreadableGraph
from ftsf_export.bundle.specs import BATCH, Quantization
from ftsf_export.errors import BundleError
from ftsf_export.network.scope import Scope
from ftsf_export.precision import PRECISIONS, Precision

_MIB, _GIB = 1 << 20, 1 << 30
# Read into memory as a whole. The graph cannot be larger: protobuf ends at 2 GiB.
_LARGEST = {MANIFEST_NAME: 16 * _MIB, REPORT_RECORD: 256 * _MIB, GOLDEN_NAME: 4 * _GIB, ONNX_NAME: 2 * _GIB}
_LARGEST_OTHER, _LARGEST_SUM = 32 * _GIB, 64 * _GIB
# The element types that ONNX calls otherwise, but for capitals.
_NUMPY_NAMES = {"FLOAT": "float32", "DOUBLE": "float64"}
# Weights have a sign; activations have none where ONNX Runtime multiplies them on a CPU.
_EIGHT_BITS = ("INT8", "UINT8")
_UNFINISHED_NAME = re.compile(r"\..+\.partial-\d+-[0-9a-f]{8}")
# No location that a runtime takes for anything but a file beside the graph (ONNX Runtime's "*/_ORT_MEM_ADDR_/*").
_LOCATION = re.compile(r"[A-Za-z0-9._+-]+(/[A-Za-z0-9._+-]+)*")


@contextmanager
def opened_bundle(root: Path) -> Iterator[Folder]:
    """The directory of a bundle. Raises BundleError where there is none, EnvironmentLacks as ``opened``."""
    if any(map(_UNFINISHED_NAME.fullmatch, root.absolute().parts)):
        raise BundleError(f"{root}: the leftover of an export that did not end; delete it and export again")
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(opened(root))
        except FileNotFoundError as error:
            raise BundleError(f"{root}: no such bundle; make one with: ftsf-export -o {root}") from error
        except NotADirectoryError as error:
            inside = (root.parent / MANIFEST_NAME).is_file()
            mend = f"give its directory: {root.parent}" if inside else f"make one with: ftsf-export -o {root}-bundle"
            raise BundleError(f"{root}: a file, not a bundle directory; {mend}") from error
        except OSError as error:
            raise BundleError(f"{root}: cannot be read: {error.strerror or error}") from error
        yield folder


def read_manifest(folder: Folder) -> Manifest:
    """The manifest; the files that it lists are not looked at. Raises BundleError."""
    return Manifest.from_bytes(manifest_bytes(folder), str(folder.path / MANIFEST_NAME))


def manifest_bytes(folder: Folder) -> bytes:
    """The bytes of ``manifest.json``. Raises BundleError."""
    try:
        with folder.file(MANIFEST_NAME) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > _LARGEST[MANIFEST_NAME]:
                raise BundleError(f"{folder.path / MANIFEST_NAME}: {size} bytes: more than an export writes")
            return HashedReader(stream, size).take(size)
    except CutShort as error:
        raise BundleError(f"{folder.path / MANIFEST_NAME}: {error}; it is being written, or damaged") from error
    except BundleError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise BundleError(
                f"{folder.path}: not a bundle: it holds no {MANIFEST_NAME}; give a directory that ftsf-export wrote"
            ) from error
        raise


def check_listed(path: Path, manifest: Manifest) -> None:
    """The manifest alone: names that stay inside, sizes, the required files. Raises BundleError with ``path``."""
    for name, entry in manifest.files.items():
        if problem := name_problem(name):
            raise BundleError(f"{path}: the manifest names {name!r}, which holds {problem}; do not trust this bundle")
        if entry.size_bytes > _LARGEST.get(name, _LARGEST_OTHER):
            raise BundleError(f"{path / name}: {entry.size_bytes} bytes by the manifest: more than an export writes")
    if (whole := sum(entry.size_bytes for entry in manifest.files.values())) > _LARGEST_SUM:
        raise BundleError(f"{path}: {whole} bytes by the manifest: more than an export writes")
    for name in REQUIRED_FILES:
        if name not in manifest.files:
            raise BundleError(f"{path / MANIFEST_NAME}: files: {name!r} is not listed; write the bundle again")


def check_files(folder: Folder, manifest: Manifest) -> tuple[str, ...]:
    """Every file is the one that the manifest lists; gives the names of those that wait in ``.pending``.

    Raises BundleError naming the first file that is in neither place as it should be.
    """
    waiting = []
    for name in manifest.files:
        try:
            check_file(folder, name, manifest)
        except BundleError:
            if not _waits(folder, name, manifest):
                raise
            waiting.append(name)
    return tuple(waiting)


def waiting_files(folder: Folder, manifest: Manifest) -> tuple[str, ...]:
    """Names of the files whose content waits in ``.pending``, complete: see ``bundle.update``."""
    if not folder.holds_folder(PENDING_FOLDER):
        return ()
    return tuple(name for name in manifest.files if _waits(folder, name, manifest))


def check_file(folder: Folder, name: str, manifest: Manifest, *, place: str = "", sink: Sink | None = None) -> None:
    """The file ``name``, found at ``place``, has the size and the hash that are listed; ``sink`` takes its bytes.

    Of the graph also what it refers to. What the sink took is good once this returns. Raises BundleError.
    """
    place = place or name
    entry, path = manifest.files[name], folder.path / place
    problem, content = "", None
    with folder.file(place) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size != entry.size_bytes:
            raise _altered(path, entry, f"{size} bytes")
        reader = HashedReader(stream, size, sink)
        try:
            content = read_graph(reader) if name == ONNX_NAME else None
        except ForeignGraph as error:
            problem = f"no graph of an export: {error}"
        except (UnreadableGraph, CutShort) as error:
            problem = f"not a readable ONNX file: {error}"
        found = reader.finish()
    if found != entry.sha256:
        raise _altered(path, entry, f"{found} ({size} bytes)")
    if name == ONNX_NAME:
        if content is None:
            raise BundleError(f"{path}: {problem}; export again")
        check_graph(content, manifest, str(path))


def check_graph(content: GraphContent, manifest: Manifest, source: str) -> None:
    """The graph is the one that the manifest speaks of: it refers to files of the bundle alone, takes and gives what is
    said there, and multiplies in that precision. Raises BundleError."""
    for data in content.external:
        what = f"{source}: the values of {data.tensor!r} lie in {data.location[:200]!r}"
        if name_problem(data.location) or not _LOCATION.fullmatch(data.location):
            raise BundleError(f"{what}, which is no name in a bundle; do not trust this bundle")
        entry = manifest.files.get(data.location)
        if entry is None:
            raise BundleError(f"{what}, which the manifest does not list, so nothing says what it holds; export again")
        if data.offset + (data.length or 0) > entry.size_bytes:
            raise BundleError(f"{what} beyond its end, {entry.size_bytes} bytes; export again")
    if problem := _shape_problem(content, manifest) or _precision_problem(content, manifest):
        raise BundleError(f"{source}: {problem}; export again")


def _shape_problem(content: GraphContent, manifest: Manifest) -> str:
    """What the manifest says otherwise than the graph of its inputs, its outputs and its depth, or ""."""
    sides = (("inputs", manifest.inputs, content.inputs), ("outputs", manifest.outputs, content.outputs))
    for side, specs, values in sides:
        said = ", ".join(f"{one.name} {one.dtype} {list(one.shape)}" for one in specs)
        found = ", ".join(
            f"{one.name} {_NUMPY_NAMES.get(one.element, one.element.lower())} "
            f"{[BATCH if size is None else size for size in one.shape]}"
            for one in values
        )
        if said != found:
            return f"{side}: the manifest says {said[:300]}, the graph has {found[:300] or 'none'}"
    if manifest.model.depth > content.nodes:
        return f"depth: the manifest says {manifest.model.depth} blocks, and the graph has {content.nodes} nodes"
    return ""


def _precision_problem(content: GraphContent, manifest: Manifest) -> str:
    """Why the graph's own types do not bear out the manifest's precision, or "".

    Limits go by the precision, so it is not taken on trust: outside the FP32 islands every operand of a product is of
    its type.
    """
    asked, quantization = PRECISIONS[manifest.precision], manifest.graph.quantization
    if (asked.bits == 8) != (quantization is not None):
        said = "nothing of quantization" if quantization is None else "that it is quantized"
        return f"precision: the manifest says {asked.name}, and {said}"
    if quantization is not None:
        return _quantization_problem(content, quantization, asked)
    islands = [Scope(island.scope) for island in manifest.graph.islands if island.scope]
    judged = 0
    for product in content.products:
        if any(island.holds(product.name) for island in islands):
            continue
        if "" in product.types:
            return f"precision: the graph does not tell the type of an operand of {product.name!r}"
        judged += 1
        if other := next((one for one in product.types if one != asked.onnx), ""):
            names = {one.onnx: name for name, one in PRECISIONS.items()}
            return (
                f"precision: the manifest says {asked.name}, but {product.name!r} multiplies {names.get(other, other)}"
            )
    if judged:
        return ""
    return f"precision: the manifest says {asked.name}, and no product outside the FP32 islands tells its type"


def _quantization_problem(content: GraphContent, said: Quantization, asked: Precision) -> str:
    """The same for a graph of 8 bits: which products are not in them, and how many are, the manifest says."""
    wide, beside = [Scope(one) for one in said.wide if one], PRECISIONS[said.beside]
    integers = 0
    for product in content.products:
        kept = any(scope.holds(product.name) for scope in wide)
        integers += not kept
        expected = (beside.onnx,) if kept else _EIGHT_BITS
        if "" in product.types:
            return f"precision: the graph does not tell the type of an operand of {product.name!r}"
        if other := next((one for one in product.types if one not in expected), ""):
            return f"precision: {product.name!r} multiplies {other}, the manifest says {' or '.join(expected)}"
    if integers != said.products:
        return f"precision: the manifest says {said.products} products in {asked.name}, the graph has {integers}"
    return ""


def _waits(folder: Folder, name: str, manifest: Manifest) -> bool:
    try:
        check_file(folder, name, manifest, place=f"{PENDING_FOLDER}/{name}")
    except BundleError:
        return False
    return True


def _altered(path: Path, entry: FileEntry, got: str) -> BundleError:
    return BundleError(
        f"{path}: altered or damaged: expected sha256 {entry.sha256} ({entry.size_bytes} bytes), got {got}; "
        "copy the bundle again, or write it again"
    )
