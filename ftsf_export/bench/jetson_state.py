"""A Jetson's GPU while it works: the kernel's devfreq and thermal files, and the power mode from ``nvpmodel``.

NVML does not tell them there. Names as in NVIDIA's Jetson Linux Developer Guide, "Platform Power and Performance":
``17000000.gpu`` is Orin's GPU, ``gpu-gpc-0`` Thor's; ``bwmgr`` is Thor's memory, whose clock Orin shows to root alone.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ftsf_export.timing import GpuSample

_GPU_CLOCKS, _MEMORY_CLOCKS = ("*.gpu", "gpu-gpc-*"), ("bwmgr",)
_HZ, _MILLIDEGREES = 1_000_000, 1000
_NVPMODEL_SECONDS = 10.0


class JetsonReader:
    """``root``: where the machine's file system begins."""

    def __init__(self, root: Path = Path("/")) -> None:
        clocks = root / "sys/class/devfreq"
        self._gpu, self._memory = (
            [folder / "cur_freq" for name in names for folder in sorted(clocks.glob(name))]
            for names in (_GPU_CLOCKS, _MEMORY_CLOCKS)
        )
        zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
        self._heat = [zone / "temp" for zone in zones if _read(zone / "type").lower().startswith("gpu")]

    def read(self) -> GpuSample:
        return GpuSample(
            sm_clock_mhz=_most(self._gpu, _HZ),
            memory_clock_mhz=_most(self._memory, _HZ),
            temperature_c=_most(self._heat, _MILLIDEGREES),
        )


def power_mode(program: str = "nvpmodel") -> str:
    """The name of the power mode, "MAXN" or "15W"; empty where ``nvpmodel`` is not there or does not say."""
    try:
        ended = subprocess.run([program, "-q"], capture_output=True, text=True, timeout=_NVPMODEL_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    named = re.search(r"^NV Power Mode: *(.+?) *$", ended.stdout, re.MULTILINE)
    return named[1] if named else ""


def _read(path: Path) -> str:
    """The file's text; empty where it cannot be read: a sensor of a part that sleeps answers with an error."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _most(paths: list[Path], unit: int) -> int | None:
    """The largest of these readings; None where none can be read."""
    known = [int(text) // unit for path in paths if (text := _read(path)).lstrip("-").isdigit()]
    return max(known, default=None)
