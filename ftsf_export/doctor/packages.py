"""Every package that the toolkit may use: which release it needs, what for, which extra brings it, and what is here.

Versions come from the installed metadata: nothing is imported (torch alone takes seconds, TensorRT may abort).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

CORE = ""  # the extra that is always installed
PROJECT = "ftsf-export"


@dataclass(frozen=True)
class Package:
    """One row of setup.py, by distribution name. ``minimum`` is included, ``below`` is not; empty: no limit."""

    name: str
    minimum: str
    extra: str
    purpose: str
    below: str = ""


@dataclass(frozen=True)
class Finding:
    """A package as it is here. ``version`` is None when it is not installed; ``problem`` is empty when all is well."""

    package: Package
    version: str | None
    problem: str = ""

    @property
    def usable(self) -> bool:
        return self.version is not None and not self.problem


PACKAGES = (
    Package("numpy", "1.26", CORE, "arrays"),
    Package("click", "8.1", CORE, "command line"),
    Package("rich", "13.7", CORE, "tables and progress"),
    Package("polygraphy", "0.49.20", CORE, "runners and comparison"),
    Package("torch", "2.9", "export", "the model, and its export"),
    Package("einops", "0.8", "export", "the model"),
    Package("safetensors", "0.5", "export", "checkpoints"),
    Package("onnxscript", "0.5.6", "export", "torch's ONNX exporter"),
    Package("jinja2", "3.1", "export", "report.html"),
    Package("onnx", "1.17", "onnx", "the graph and its checker"),
    Package("onnx-ir", "0.1.12", "onnx", "rewriting the graph"),
    Package("ml_dtypes", "0.5", "onnx", "bf16 arrays"),
    Package("onnxruntime", "1.20", "onnx", "running the graph (one of the two, never both)"),
    Package("onnxruntime-gpu", "1.20", "onnx", "running the graph; also runs with no GPU"),
    Package("tensorrt-rtx-cu13", "1.2", "rtx", "engines for RTX GPUs, built with no GPU"),
    Package("tensorrt", "10.3", "tensorrt", "engines for datacenter GPUs and Jetson"),
    Package("av", "14", "video", "decoding video (ffmpeg)", below="19"),
    Package("pillow", "10", "video", "resizing frames"),
    Package("huggingface_hub", "0.30", "hub", "checkpoints by their id"),
    Package("transformers", "5", "hub", "a second opinion on a Hugging Face checkpoint"),
    Package("nvidia-ml-py", "12", "nvml", "clocks, temperature and memory of the GPU"),
)

# The same files under two names: one is needed, both together break.
_EITHER = {"onnxruntime", "onnxruntime-gpu"}

VersionOf = Callable[[str], str]


def install_command(extra: str) -> str:
    """The command that brings an extra (``""``: the core)."""
    return f"pip install '{PROJECT}[{extra}]'" if extra else f"pip install {PROJECT}"


def find_packages(version_of: VersionOf = metadata.version) -> tuple[Finding, ...]:
    """Every package with its installed release, in the table's order."""
    return tuple(_find(package, version_of) for package in PACKAGES)


def _find(package: Package, version_of: VersionOf) -> Finding:
    try:
        version = version_of(package.name)
    except metadata.PackageNotFoundError:
        return Finding(package, None)
    if _numbers(version) < _numbers(package.minimum):
        return Finding(package, version, f"expected at least {package.minimum}")
    if package.below and _numbers(version) >= _numbers(package.below):
        return Finding(package, version, f"expected below {package.below}")
    return Finding(package, version)


def _numbers(version: str) -> tuple[int, ...]:
    """The release part of a version (PEP 440): 2.13.0+cpu gives (2, 13, 0). Trailing zeros do not count."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def advice(finding: Finding, findings: tuple[Finding, ...]) -> str:
    """How to get a package that is not usable; empty when nothing is to be done."""
    if finding.usable:
        return ""
    if finding.package.name in _EITHER and any(f.usable for f in findings if f.package.name in _EITHER):
        return ""  # both together would break each other
    return install_command(finding.package.extra)


def conflicts(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Packages that must not be installed together, one sentence each."""
    installed = {finding.package.name for finding in findings if finding.version is not None}
    if installed >= _EITHER:
        return (
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files; mend it with: "
            "pip uninstall -y onnxruntime onnxruntime-gpu && " + install_command("onnx"),
        )
    return ()
