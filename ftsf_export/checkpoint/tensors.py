"""Files of tensors that somebody else wrote: read with limits, and without running anything that is in them.

safetensors holds tensors and text. A pickle (``.bin``, ``.pyth``, ``.pt``) can hold code: it goes through
``torch.load(weights_only=True)``, which knows tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import json
import pickle
import shlex
import struct
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from io import FileIO
from os import fstat
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ftsf_export.bundle.files import sha256_of_stream
from ftsf_export.checkpoint.names import Shape
from ftsf_export.checkpoint.plain_numbers import STAND_INS
from ftsf_export.checkpoint.stated import Stated
from ftsf_export.checkpoint.wrapping import GROUPS, group_in, prefix_of
from ftsf_export.errors import UsageError
from ftsf_export.user_file import path_of, regular_file

# TimeSformer-base is 0.5 GB; with an optimizer's state 1.5 GB.
MAX_FILE_BYTES = 8 * 2**30
# Names, shapes and metadata of a safetensors file; the pickle of a zip archive, which holds the same.
MAX_HEADER_BYTES = 16 * 2**20
_ZIP = b"PK\x03\x04"
# Protocol 2 to 5, and torch's format before 1.6, which starts with a pickled number.
_PICKLE = b"\x80"
_EXPECTED = "a safetensors file or one that torch.save wrote"


@dataclass(frozen=True)
class TensorFile:
    """A file of named tensors, not read yet. It is opened again to be read and to be hashed, and must be the same."""

    path: Path  #: The file.
    shapes: Mapping[str, Shape]  #: Name -> shape.
    #: Which file it is, and when it was last written to, by the system.
    identity: tuple[int, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)  #: Text that a safetensors file holds beside its tensors.
    group: str = ""  #: Key of a pickle under which the tensors lie; empty where they are the whole of it.
    prefix: str = ""  #: What every name in the file starts with; ``shapes`` are without it.
    #: What else the pickle holds: key -> its text, or a description of what it is.
    beside: Mapping[str, str] = field(default_factory=dict)
    stated: Stated = field(default_factory=Stated)  #: The settings of the training that a pickle holds.

    @property
    def set_aside(self) -> tuple[str, ...]:
        """What else the pickle holds, in words; a text of several lines is left to whoever reads it."""
        return tuple(f"{key} ({what})" for key, what in self.beside.items() if "\n" not in what)

    def has(self, start: str) -> bool:
        """Whether the name of a tensor begins so."""
        return any(name.startswith(start) for name in self.shapes)

    def sha256(self) -> str:
        """SHA-256 of the file, hexadecimal. Raises UsageError where it is another one by now."""
        with self._again() as file, reading(self.path):
            return sha256_of_stream(file)

    def read(self) -> dict[str, Tensor]:
        """Every tensor, on the CPU, as it is in the file. Raises UsageError where one is no finite float, and where the
        file is another one by now."""
        with self._again() as source:
            if is_safetensors(source, self.path):
                with reading(self.path), _safetensors(source, self.path) as file:
                    tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            else:
                tensors = tensors_of(self.path, unpickled(source, self.path), self.group)
        named = {name.removeprefix(self.prefix): tensor for name, tensor in tensors.items()}
        for name, tensor in named.items():
            if not tensor.is_floating_point():
                raise UsageError(f"checkpoint: {self.path}: {name}: expected a floating type, got {tensor.dtype}")
            if not bool(torch.isfinite(tensor).all()):
                raise UsageError(f"checkpoint: {self.path}: {name}: holds NaN or infinity; the file is damaged")
        return named

    @contextmanager
    def _again(self) -> Iterator[FileIO]:
        with opened(self.path) as file:
            if _identity(file) != self.identity:
                raise UsageError(
                    f"checkpoint: {self.path}: the file changed while it was in use; run the command again"
                )
            yield file


def open_tensors(path: Path) -> TensorFile:
    """Names and shapes of a safetensors file or a pickle of tensors, recognised by its first bytes.

    Raises UsageError for a file that is neither, too large, damaged, or a pickle that holds anything but data.
    """
    with opened(path) as source:
        identity = _identity(source)
        if is_safetensors(source, path):
            with reading(path), _safetensors(source, path) as file:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict
                prefix = prefix_of(shapes, path)
                shapes = {name.removeprefix(prefix): shape for name, shape in shapes.items()}
                return TensorFile(path, shapes, identity, dict(file.metadata() or {}), prefix=prefix)
        if not _first_bytes(source, path, 4).startswith((_ZIP, _PICKLE)):
            raise UsageError(f"checkpoint: {path}: expected {_EXPECTED}, got neither by its content")
        content = unpickled(source, path)
        size = fstat(source.fileno()).st_size
    group = group_in(content)
    tensors = tensors_of(path, content, group)
    _check_numbers(path, tensors, size)
    prefix = prefix_of(tensors, path)
    beside = {str(key): _described(value) for key, value in content.items() if group and key != group}
    shapes = {name.removeprefix(prefix): tuple(tensor.shape) for name, tensor in tensors.items()}
    stated = Stated.beside(content) if group else Stated()
    return TensorFile(path, shapes, identity, group=group, prefix=prefix, beside=beside, stated=stated)


def is_safetensors(file: FileIO, path: Path) -> bool:
    """Whether a header's length and a JSON object come first. Raises UsageError for a header above the limit."""
    start = _first_bytes(file, path, 9)
    if len(start) < 9 or start[8:] != b"{":
        return False
    (length,) = struct.unpack("<Q", start[:8])
    if length > MAX_HEADER_BYTES:
        raise UsageError(
            f"checkpoint: {path}: a safetensors header of at most {MAX_HEADER_BYTES} bytes is read, got {length}"
        )
    return True


def opened(path: Path) -> AbstractContextManager[FileIO]:
    """The file of tensors at ``path``, open. Raises UsageError for what is no regular file, or too large."""
    return regular_file(path, expected=_EXPECTED, most=MAX_FILE_BYTES, about="checkpoint: ")


def _identity(file: FileIO) -> tuple[int, ...]:
    found = fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _safetensors(file: FileIO, path: Path) -> Any:
    return safe_open(path_of(file, path), framework="pt", device="cpu")


def _first_bytes(file: FileIO, path: Path, count: int) -> bytes:
    with reading(path):
        file.seek(0)
        return file.read(count)


def unpickled(file: FileIO, path: Path, *, also: Iterable[Any] = (), mend: str = "") -> Mapping[Any, Any]:
    """The content of a pickle of tensors, numbers and plain containers; a zip archive is mapped, not read.

    ``also``: what else stands in for a name in it, as ``torch.serialization.safe_globals`` takes it. ``mend``: the end
    of the message where it holds more; "": the line that takes the tensors out.
    """
    archive = _first_bytes(file, path, 4).startswith(_ZIP)
    if archive:
        _check_archive(file, path)
    with (
        reading(path, mend or _take_out_line(path)),
        warnings.catch_warnings(),
        torch.serialization.safe_globals([*STAND_INS, *also]),
    ):
        # torch warns of a pickle protocol that it did not write; what it then cannot read it refuses.
        warnings.simplefilter("ignore", UserWarning)
        content = torch.load(path_of(file, path), map_location="cpu", weights_only=True, mmap=archive or None)
    if not isinstance(content, Mapping):
        raise UsageError(f"checkpoint: {path}: expected a dictionary of tensors, got {type(content).__name__}")
    return content


def _check_archive(file: FileIO, path: Path) -> None:
    """torch stores without compression: what unpacks to more than the file is made to harm."""
    with reading(path), zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UsageError(f"checkpoint: {path}: expected an archive without compression, as torch.save writes it")
    pickles = [entry.file_size for entry in entries if entry.filename.endswith(".pkl")]
    if sum(entry.file_size for entry in entries) > MAX_FILE_BYTES or sum(pickles) > MAX_HEADER_BYTES:
        raise UsageError(
            f"checkpoint: {path}: at most {MAX_FILE_BYTES} bytes of tensors and {MAX_HEADER_BYTES} bytes of names are "
            "read, the archive declares more"
        )


def _check_numbers(path: Path, tensors: Mapping[str, Tensor], size: int) -> None:
    """A stride of zero makes a tensor of any size from one number."""
    numbers = sum(tensor.numel() for tensor in tensors.values())
    if numbers > size:
        raise UsageError(f"checkpoint: {path}: declares tensors of {numbers} numbers in a file of {size} bytes")


def tensors_of(path: Path, content: Mapping[Any, Any], group: str) -> dict[str, Tensor]:
    """Name -> tensor of what a pickle holds under ``group``. Raises UsageError where other things lie there."""
    tensors = content[group] if group else content
    strays = [str(name) for name, value in tensors.items() if not isinstance(value, Tensor)]
    if strays or not tensors:
        raise UsageError(
            f"checkpoint: {path}: expected tensors by name, alone or under one of {', '.join(GROUPS)}; "
            f"got {', '.join(strays[:8]) if strays else 'none'}"
        )
    return {str(name): value for name, value in tensors.items()}


def _described(value: object) -> str:
    if isinstance(value, (str, int, float)):
        return str(value)
    return (
        f"{type(value).__name__} of {len(value)}" if isinstance(value, (Mapping, list, tuple)) else type(value).__name__
    )


_DAMAGED = (
    *(SafetensorError, zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError),
    *(KeyError, IndexError, AttributeError, TypeError, AssertionError, struct.error),
)


@contextmanager
def reading(path: Path, mend: str = "the file is damaged") -> Iterator[None]:
    """Turns what the libraries raise for a damaged or dangerous file into one UsageError."""
    try:
        yield
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"checkpoint: {path}: a pickle that holds more than tensors and plain values is not read, since reading it "
            f"would run code; {mend}",
            details=str(error),
        ) from error
    except _DAMAGED as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"checkpoint: {path}: does not read: {first}", details=str(error)) from error


def _take_out_line(path: Path) -> str:
    """What to type so that ``checkpoint/take_out.py`` does it."""
    names = json.dumps(str(path)), json.dumps(str(path.with_suffix(".safetensors")))
    code = f"from ftsf_export.checkpoint import take_out; take_out({names[0]}, {names[1]})"
    return f"this takes its tensors out and runs nothing: {shlex.join(['python', '-c', code])}"
