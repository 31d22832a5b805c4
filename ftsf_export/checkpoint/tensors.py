"""Files of tensors that somebody else wrote: read with limits, and without running anything that is in them.

safetensors holds tensors and text. A pickle (``.bin``, ``.pyth``, ``.pt``) can hold code: it goes through
``torch.load(weights_only=True)``, which knows tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
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
from ftsf_export.checkpoint.stated import Stated
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
_GROUPS = ("model_state", "state_dict", "model")


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

    def sha256(self) -> str:
        """SHA-256 of the file, hexadecimal. Raises UsageError where it is another one by now."""
        with self._again() as file, _reading(self.path):
            return sha256_of_stream(file)

    def read(self) -> dict[str, Tensor]:
        """Every tensor, on the CPU, as it is in the file. Raises UsageError where one is no finite float, and where the
        file is another one by now."""
        with self._again() as opened:
            if is_safetensors(opened, self.path):
                with _reading(self.path), _safetensors(opened, self.path) as file:
                    tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            else:
                tensors = _tensors_of(self.path, _unpickled(opened, self.path), self.group)
        named = {name[len(self.prefix) :]: tensor for name, tensor in tensors.items()}
        for name, tensor in named.items():
            if not tensor.is_floating_point():
                raise UsageError(f"checkpoint: {self.path}: {name}: expected a floating type, got {tensor.dtype}")
            if not bool(torch.isfinite(tensor).all()):
                raise UsageError(f"checkpoint: {self.path}: {name}: holds NaN or infinity; the file is damaged")
        return named

    @contextmanager
    def _again(self) -> Iterator[FileIO]:
        with _opened(self.path) as file:
            if _identity(file) != self.identity:
                raise UsageError(
                    f"checkpoint: {self.path}: the file changed while it was in use; run the command again"
                )
            yield file


def open_tensors(path: Path) -> TensorFile:
    """Names and shapes of a safetensors file or a pickle of tensors, recognised by its first bytes.

    Raises UsageError for a file that is neither, too large, damaged, or a pickle that holds anything but data.
    """
    with _opened(path) as opened:
        identity = _identity(opened)
        if is_safetensors(opened, path):
            with _reading(path), _safetensors(opened, path) as file:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict
                return TensorFile(path, shapes, identity, dict(file.metadata() or {}))
        if not _first_bytes(opened, path, 4).startswith((_ZIP, _PICKLE)):
            raise UsageError(f"checkpoint: {path}: expected {_EXPECTED}, got neither by its content")
        content = _unpickled(opened, path)
        size = fstat(opened.fileno()).st_size
    group = next((key for key in _GROUPS if isinstance(content.get(key), Mapping)), "")
    tensors = _tensors_of(path, content, group)
    _check_numbers(path, tensors, size)
    prefix = _prefix(tensors)
    beside = {str(key): _described(value) for key, value in content.items() if group and key != group}
    shapes = {name[len(prefix) :]: tuple(tensor.shape) for name, tensor in tensors.items()}
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


def _opened(path: Path) -> AbstractContextManager[FileIO]:
    return regular_file(path, expected=_EXPECTED, most=MAX_FILE_BYTES, about="checkpoint: ")


def _identity(file: FileIO) -> tuple[int, ...]:
    found = fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _safetensors(file: FileIO, path: Path) -> Any:
    return safe_open(path_of(file, path), framework="pt", device="cpu")


def _first_bytes(file: FileIO, path: Path, count: int) -> bytes:
    with _reading(path):
        file.seek(0)
        return file.read(count)


def _unpickled(file: FileIO, path: Path) -> Mapping[Any, Any]:
    """The content of a pickle of tensors and plain containers; a zip archive is mapped, not read."""
    archive = _first_bytes(file, path, 4).startswith(_ZIP)
    if archive:
        _check_archive(file, path)
    with _reading(path), warnings.catch_warnings():
        # torch warns of a pickle protocol that it did not write; what it then cannot read it refuses.
        warnings.simplefilter("ignore", UserWarning)
        content = torch.load(path_of(file, path), map_location="cpu", weights_only=True, mmap=archive or None)
    if not isinstance(content, Mapping):
        raise UsageError(f"checkpoint: {path}: expected a dictionary of tensors, got {type(content).__name__}")
    return content


def _check_archive(file: FileIO, path: Path) -> None:
    """torch stores without compression: what unpacks to more than the file is made to harm."""
    with _reading(path), zipfile.ZipFile(file) as archive:
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


def _tensors_of(path: Path, content: Mapping[Any, Any], group: str) -> dict[str, Tensor]:
    tensors = content[group] if group else content
    strays = [str(name) for name, value in tensors.items() if not isinstance(value, Tensor)]
    if strays or not tensors:
        raise UsageError(
            f"checkpoint: {path}: expected tensors by name, alone or under one of {', '.join(_GROUPS)}; "
            f"got {', '.join(strays[:8]) if strays else 'none'}"
        )
    return {str(name): value for name, value in tensors.items()}


def _prefix(tensors: Mapping[str, Tensor]) -> str:
    """What wrappers put before every name: DistributedDataParallel "module.", the original's own class "model."."""
    prefix = ""
    for wrapper in ("module.", "model."):
        if all(name.startswith(prefix + wrapper) for name in tensors):
            prefix += wrapper
    return prefix


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
def _reading(path: Path) -> Iterator[None]:
    """Turns what the libraries raise for a damaged or dangerous file into one UsageError."""
    try:
        yield
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"checkpoint: {path}: a pickle that holds more than tensors and plain values is not read, since reading it "
            "would run code; save the tensors alone, best as safetensors",
            details=str(error),
        ) from error
    except _DAMAGED as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"checkpoint: {path}: does not read: {first}", details=str(error)) from error
