"""The Jetson that this machine may be. There TensorRT and CUDA are Debian packages of JetPack, for the system's Python;
what PyPI has under these names is for other machines.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/")
# What JetPack's own repository has for our extras.
_TENSORRT, CUDA = "python3-libnvinfer", "nvidia-cuda"


@dataclass(frozen=True)
class Jetson:
    """One Jetson."""

    model: str  #: As its device tree says, "NVIDIA Jetson AGX Orin Developer Kit"; "Jetson" where that cannot be read.
    l4t: str  #: Version of its Linux, "36.4.3" (JetPack 6.2); empty where it cannot be read, as in a container.


def jetson(root: Path | None = None) -> Jetson | None:
    """This machine's, None where it is none. ``root``: where its file system begins."""
    root = root or _ROOT
    release, model = _text(root / "etc/nv_tegra_release"), _text(root / "proc/device-tree/model").rstrip("\0")
    if not release and "Jetson" not in model:
        return None
    version = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    return Jetson(model or "Jetson", f"{version[1]}.{version[2]}" if version else "")


def install_advice(extra: str) -> str:
    """How a Jetson gets what pip does not bring for one of our extras; empty where pip does, and on other machines."""
    if extra != "tensorrt" or jetson() is None:
        return ""
    advice = apt_command(_TENSORRT)
    if not any(Path(entry).name == "dist-packages" for entry in sys.path):
        advice += ", and make the virtual environment with: /usr/bin/python3 -m venv --system-site-packages DIRECTORY"
    return advice


def apt_command(package: str) -> str:
    """What installs one of JetPack's packages."""
    return f"sudo apt install {package}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":  # for scripts/install
    sys.exit(jetson() is None)
