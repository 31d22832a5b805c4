"""Whether an error is one for want of memory, whichever library met it, and what is said then.

Each library says it its way: PyTorch's allocator and shapes, C++, ONNX Runtime, CUDA, NumPy. The dynamic linker calls a
library missing whose segments find no room under ``ulimit -v``, which reads like one that is not installed.
"""

from __future__ import annotations

import re
from pathlib import Path

from ftsf_export.errors import EnvironmentLacks, FtsfError, OutOfMemory

_SAID = re.compile(
    "allocate memory|bad_alloc|bad allocation|out of memory|[Oo]verflow when unpacking long"
    "|size calculation overflowed|integer multiplication overflow|Maximum allowed dimension exceeded|array is too big"
    "|cannot fit 'int' into an index|failed to map segment|can't start new thread"
)
# The largest of the libraries, PyTorch's, is mapped in one piece of less than this.
_LARGEST_PIECE = 1 << 30


def out_of_memory(error: BaseException | None) -> OutOfMemory | None:
    """What ``error`` is, where a library could not get memory, or counts more bytes than a machine can address.

    An error of ours stays what it is: it has words of its own. One that says that a library is not there may not know.
    """
    while error is not None:
        if isinstance(error, OutOfMemory):
            return error
        if isinstance(error, FtsfError) and not isinstance(error, EnvironmentLacks):
            return None
        if isinstance(error, MemoryError) or _SAID.search(str(error)) or _met_the_limit(error):
            return OutOfMemory(lacking_memory())
        error = error.__cause__
    return None


def lacking_memory() -> str:
    """What is said where memory ran out."""
    limit = _address_limit()
    if limit is None:
        return "out of memory; free some, or take a smaller model, fewer frames or a smaller batch"
    return (
        f"out of memory: a process may take {limit >> 20} MiB of address space here (ulimit -v); allow more, or take a "
        "smaller model, fewer frames or a smaller batch"
    )


def address_bytes_left() -> int | None:
    """How much of its address space (``ulimit -v``) this process may still take; None where it has no such limit."""
    limit = _address_limit()
    return None if limit is None else max(0, limit - _status_bytes("VmSize"))


def _met_the_limit(error: BaseException) -> bool:
    """Whether ``error`` is one that loading a library ends in, and hardly any address space was left at its worst."""
    limit = _address_limit()
    loading = isinstance(error, (ImportError, SystemError)) and not isinstance(error, ModuleNotFoundError)
    return loading and limit is not None and limit - _status_bytes("VmPeak") < _LARGEST_PIECE


def _address_limit() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _status_bytes(name: str) -> int:
    """A line of proc_pid_status(5); 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:")), 0)
