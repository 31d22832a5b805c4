"""The CUDA runtime library: found where toolkits and Python packages put it, and loaded once for all who need it.

A machine without a CUDA toolkit has it from a Python package alone: ``nvidia-cuda-runtime`` of CUDA 13 puts it into
``nvidia/cu13/lib``, that of CUDA 12 into ``nvidia/cuda_runtime/lib``. Polygraphy 0.53 looks into the second only.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ftsf_export.errors import EnvironmentLacks
from ftsf_export.jetson import CUDA, apt_command, jetson

_PACKAGES = ("nvidia/cu*/lib", "nvidia/cuda_runtime/lib") if sys.platform != "win32" else (
    "nvidia/cu*/bin", "nvidia/cu*/bin/x86_64", "nvidia/cuda_runtime/bin",
)  # fmt: skip
_FILES = "cudart64_*.dll" if sys.platform == "win32" else "libcudart.so.*"
_TOOLKITS = ("/usr/local/cuda/lib64", "/usr/local/cuda/targets/*/lib")
# Newest first; a name without a folder is looked up by the system's own loader (LD_LIBRARY_PATH, ldconfig).
_NAMES = () if sys.platform == "win32" else ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")


@cache
def cuda_runtime() -> Any:
    """The library, and Polygraphy is told of it. Raises EnvironmentLacks where there is none that the driver runs."""
    newest = _driver_major()
    tried = []
    for name in candidates():
        major = major_of(name)
        if newest and major > newest:
            tried.append(f"{name} is of CUDA {major}, the driver runs CUDA {newest} at most")
            continue
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            tried.append(str(error))
            continue
        _tell_polygraphy(library)
        return library
    package = "nvidia-cuda-runtime-cu12" if newest == 12 else "nvidia-cuda-runtime"
    install = f"pip install {package}" if jetson() is None else apt_command(CUDA)
    raise EnvironmentLacks(
        "CUDA runtime library (libcudart) not found, or none that this driver runs: expected it on LD_LIBRARY_PATH, in "
        "/usr/local/cuda or in a Python package",
        install=install,
        details="\n".join(tried),
    )


def candidates() -> Iterator[str]:
    """Where it may be: names for the loader, then files of toolkits and of Python packages, the newest first."""
    yield from _NAMES
    roots = [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]
    folders = [folder for root in roots for pattern in _PACKAGES for folder in sorted(root.glob(pattern))]
    folders += [folder for pattern in _TOOLKITS for folder in sorted(Path("/").glob(pattern[1:]))]
    files = {str(file) for folder in folders for file in folder.glob(_FILES)}
    yield from sorted(files, key=major_of, reverse=True)


def major_of(name: str) -> int:
    """The CUDA version of a library by its file name: 13 of libcudart.so.13 and of cudart64_13.dll."""
    found = re.search(r"(?:libcudart\.so\.|cudart64_)(\d+)", name)
    return 0 if found is None else int(found[1]) if int(found[1]) < 100 else int(found[1]) // 10


def _driver_major() -> int:
    """The newest CUDA that the driver runs; 0 where there is no driver to ask."""
    from ftsf_export.runners.driver import first_gpu

    gpu = first_gpu()
    return 0 if gpu is None else int(gpu.cuda_version.partition(".")[0])


def _tell_polygraphy(library: Any) -> None:
    """Its own wrapper, around the library that was found: it would look for another, or for none."""
    from polygraphy.cuda import cuda as polygraphy_cuda

    if polygraphy_cuda.G_CUDA is None:
        wrapper = object.__new__(polygraphy_cuda.Cuda)
        wrapper.handle = library
        polygraphy_cuda.G_CUDA = wrapper
