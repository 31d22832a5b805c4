"""Where a plugin's machine code comes from: compiled here by Triton, or ahead of time by ``scripts/build-plugins``."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ftsf_plugins.compile import compiled
from ftsf_plugins.launch import ElementType, Launch
from ftsf_plugins.stream import Stream

# Of the list of kernels and of each of them; those that were made have some 100 KB.
_MAX_BYTES = 64 << 20


class NoKernel(Exception):
    """There is no machine code for what was asked; the message says what there is and how to make it."""


@dataclass(frozen=True)
class MachineCode:
    """Machine code of one kernel, with what its launch must know."""

    name: str  #: Of its entry.
    cubin: bytes  #: The code.
    ptx: str  #: What NVIDIA's assembler made it of.
    threads: int  #: Of one block.
    shared_bytes: int  #: Shared memory of one block, in bytes.


# Where each kernel is.
_FOLDERS = {
    "additive_attention_kernel": "additive_attention",
    "favor_short_kernel": "favor_attention",
    "favor_long_kernel": "favor_attention",
    "rotary_attention_kernel": "rotary_attention",
}

#: A launch, its element type, the stream that it is for, and the compute capability -> its machine code.
KernelSource = Callable[[Launch, ElementType, Stream, int], MachineCode]


def kernel_of(launch: Launch) -> Any:
    """The Triton function that a launch names."""
    return getattr(import_module(f"ftsf_plugins.{_FOLDERS[launch.kernel]}.kernel"), launch.kernel)


def compiled_kernel(launch: Launch, element: ElementType, stream: Stream, target: int) -> MachineCode:
    """Compiles by Triton, here. Raises NoKernel where it is not installed, CompileError where it refuses."""
    try:
        made = compiled(kernel_of(launch), launch, element, stream, target)
    except ModuleNotFoundError as error:
        raise NoKernel(
            f"{launch.kernel} for sm_{target}: {error}; install it with pip install 'ftsf-export[plugins]', or compile "
            "elsewhere with scripts/build-plugins"
        ) from error
    return MachineCode(made.name, made.cubin, made.ptx, made.resources.threads, made.resources.shared_bytes)


def prebuilt_kernel(folder: Path, launch: Launch, element: ElementType, _stream: Stream, target: int) -> MachineCode:
    """From a folder that ``scripts/build-plugins`` wrote: the kernel with these constants. Sizes that are no constants
    (frames, tokens, batch) may differ from those that it was made at; the head's width, which makes rows begin at
    multiples of 16 bytes, is one.

    Raises NoKernel where the folder holds none, or another file than its manifest says.
    """
    entries = json.loads(_content(folder / "manifest.json"))["kernels"]
    wanted = {"kernel": launch.kernel, "element": element, "target": f"sm_{target}"}
    for entry in entries:
        same = all(entry[key] == value for key, value in wanted.items())
        if same and _rounded(entry["constants"]) == _rounded(launch.constants):
            cubin, ptx = _held(folder, entry["file"], entry["sha256"]), _held(folder, entry["ptx"], entry["ptx_sha256"])
            return MachineCode(entry["kernel"], cubin, ptx.decode(), entry["threads"], entry["shared_bytes"])
    raise NoKernel(
        f"{folder.name}: none of its {len(entries)} kernels is {launch.kernel} for sm_{target} in {element} with "
        f"constants {dict(launch.constants)}; make it with scripts/build-plugins --bundle BUNDLE --target sm_{target}"
    )


def _held(folder: Path, name: str, sha256: str) -> bytes:
    content = _content(folder / name)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise NoKernel(f"{name}: not the file that its manifest names; run scripts/build-plugins again")
    return content


def _content(path: Path) -> bytes:
    """Raises NoKernel for what is no regular file, without waiting for a pipe's writer, or longer than ours are."""
    flags = getattr(os, "O_NONBLOCK", 0)
    with open(path, "rb", opener=lambda name, mode: os.open(name, mode | flags)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
            raise NoKernel(f"{path}: expected a regular file of at most {_MAX_BYTES} bytes")
        return file.read(_MAX_BYTES)


def _rounded(constants: Mapping[str, int | float]) -> dict[str, float]:
    """The constants as an ONNX attribute holds them: a real number is FP32."""
    return {name: float(np.float32(value)) for name, value in constants.items()}
