"""Python, operating system, processors and memory of this machine."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from ftsf_export.jetson import Jetson, jetson

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """The computer that this process runs on."""

    python: str  #: Version of Python.
    executable: str  #: Path of Python.
    system: str  #: Operating system, as in "Linux-6.8.0-x86_64-with-glibc2.39".
    processor: str  #: The processor's name.
    cpus: int  #: How many logical processors this process may run on.
    #: Physical memory, or the container's limit where that is less; None where it cannot be read.
    memory_bytes: int | None
    jetson: Jetson | None = None  #: Model and version of a Jetson; None on other machines.


def this_machine() -> Machine:
    return Machine(
        python=platform.python_version(),
        executable=sys.executable,
        system=platform.platform(),
        processor=processor_name(),
        cpus=usable_cpus(),
        memory_bytes=_memory_bytes(),
        jetson=jetson(),
    )


def processor_name(cpu_info: Path = _CPU_INFO) -> str:
    """The processor's own name where Linux gives it, else its architecture."""
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes(cgroup_limit: Path = _CGROUP_LIMIT) -> int | None:
    """Physical memory, or the container's limit where that is less."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(physical, int(cgroup_limit.read_text()))
    except (OSError, ValueError):  # no control group, or "max": no limit
        return physical
