"""The tensors of a pickle that holds more than tensors, taken out of it without running anything that is in it."""

from __future__ import annotations

import _compat_pickle
import pickletools
import zipfile
from collections import OrderedDict
from contextlib import suppress
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

from fast_timesformer.whole_file import write_whole
from ftsf_export.checkpoint.tensors import opened, reading, tensors_of, unpickled
from ftsf_export.checkpoint.wrapping import group_in
from ftsf_export.errors import OutputError

# torch's format before 1.6 is a row of pickles, of which the fourth holds the names.
_PICKLES = 5


class _StandIn:
    """In the place of every class and function that the pickle names: whatever is called, an empty mapping comes."""

    def __new__(cls, *_arguments: Any) -> Any:
        return OrderedDict()


def take_out(path: str | Path, output: str | Path) -> None:
    """Writes the tensors of ``path``, a file of ``torch.save``, as the safetensors file ``output``; the rest is left.

    The names of classes in it are not looked up: each is an empty mapping. Raises UsageError for a file from which no
    tensors can be had so, OutputError where ``output`` is there already or cannot be written.
    """
    from safetensors.torch import save

    path, output = Path(path), Path(output)
    if output.exists():
        raise OutputError(f"{output}: is there already; give another name")
    with opened(path) as file:
        stand_ins = [(_StandIn, name) for name in _names_in(file, path)]
        content = unpickled(
            file, path, also=stand_ins, mend="no tensors can be had of it without running what is in it"
        )
        tensors = tensors_of(path, content, group_in(content))
        with reading(path):
            data = save({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()})
    try:
        write_whole(output, data)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror or error}") from error


def _names_in(file: FileIO, path: Path) -> set[str]:
    """Of classes and functions, as the pickle has them: "argparse.Namespace"."""
    names: set[str] = set()
    with reading(path):
        file.seek(0)
        if not zipfile.is_zipfile(file):
            file.seek(0)
            stream = BufferedReader(file)
            # Behind the pickles lie the numbers, which are none.
            with suppress(ValueError):
                for _ in range(_PICKLES):
                    names |= _names_of(stream)
            stream.detach()
            return names
        with zipfile.ZipFile(file) as archive:
            for entry in archive.namelist():
                if entry.endswith(".pkl"):
                    names |= _names_of(archive.open(entry))
    return names


def _names_of(stream: Any) -> set[str]:
    """Also as Python 3 calls what a protocol of Python 2 names: torch looks names up by either."""
    found = set()
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name == "GLOBAL":
            module, name = str(argument).split(" ", 1)
            moved = _compat_pickle.IMPORT_MAPPING.get(module, module)
            found |= {f"{module}.{name}", ".".join(_compat_pickle.NAME_MAPPING.get((module, name), (moved, name)))}
    return found
