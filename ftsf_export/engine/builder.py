"""ONNX to engine, in a process of its own; what comes back is the file and everything known about it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsf_export.engine.choice import INSTALL_RTX, INSTALL_TENSORRT
from ftsf_export.engine.grammar import GrammarError
from ftsf_export.engine.plan import Plan, memory_from_log, plan_from_layers, plan_from_log
from ftsf_export.engine.process import Ending, run_child
from ftsf_export.engine.request import (
    DONE,
    ENGINE_FILE,
    LAYERS_FILE,
    LOG_FILE,
    REQUEST_FILE,
    BuildRequest,
    Built,
    Product,
    WorkOrder,
)
from ftsf_export.engine.targets import dotted
from ftsf_export.errors import BuildError, EnvironmentLacks, FtsfError, OutputError, UsageError
from ftsf_export.progress import OnProgress, silent

INSTALL_PLUGINS = "pip install 'ftsf-export[plugins]'"
_WORKER = "ftsf_export.engine.worker"
_LOG_TAIL_LINES = 40
_FAULT_MARKS = ("INTERNAL_ERROR] ", "ERROR] ")
# What a complaint holds -> what the user can do about it.
_MENDS = (
    ("op: Attention", "this parser knows no Attention operator: export again with --opset 20"),
    ("[Attention ->", "this compiler takes no such Attention: export again with --opset 20"),
    ("IAttention", "this compiler takes no such Attention: export again with --opset 20"),
    ("dedicated kernel", "this compiler takes no such Attention: export again with --opset 20"),
    ("within workspace limit", "the workspace limit is too small: give it more MiB, or none"),
)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A compiled engine and what is known about it.

    Attributes:
        path: the plan file, with no header of ours.
        builder, builder_version, target, precision: what made it, for what, from a graph in which precision.
        capabilities: compute capabilities that it runs on ("8.6", "8.9").
        profile: least, usual and largest shape of the input.
        tf32: whether FP32 products may round to TF32.
        products: the parsed network's matrix products and attentions, with their operand types.
        plan: kernels and memory, as the builder told them.
        plugins: "aot": it holds its plugins; "v3": who loads it registers them first; "": it has none.
    """

    path: Path
    builder: str
    builder_version: str
    target: str
    precision: str
    capabilities: tuple[str, ...]
    sha256: str
    size_bytes: int
    build_seconds: float
    input_name: str
    profile: tuple[tuple[int, ...], ...]
    tf32: bool
    products: tuple[Product, ...]
    plan: Plan
    plugins: str = ""

    def sidecar(self) -> dict[str, Any]:
        """What stands beside the engine file: no time and no path, so that the same build says the same."""
        return {
            "builder": self.builder,
            "builder_version": self.builder_version,
            "target": self.target,
            "precision": self.precision,
            "compute_capabilities": list(self.capabilities),
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "input": self.input_name,
            "profile": dict(zip(("min", "opt", "max"), (list(shape) for shape in self.profile), strict=True)),
            "tf32": self.tf32,
            "plugins": self.plugins,
            "kernels": len(self.plan.kernels),
            "kernels_by_kind": self.plan.kernels_by_kind(),
            "moved_bytes": self.plan.moved_bytes,
            "fused_attentions": self.plan.fused_attentions,
            "product_operand_types": self.plan.operand_types(),
            "memory": self.plan.memory.as_dict(),
        }

    def sidecar_bytes(self) -> bytes:
        return (json.dumps(self.sidecar(), indent=2) + "\n").encode()


def build_engine(request: BuildRequest, *, on_progress: OnProgress = silent) -> Engine:
    """Compile one engine. ``request.output`` appears when all is well, and not otherwise.

    Raises UsageError for a graph that does not fit the request, EnvironmentLacks for a compiler that cannot be
    loaded, OutputError for a place that cannot be written, BuildError when the compiler refuses, crashes or runs
    out of time, with the tail of its own log in ``details``.
    """
    started = time.monotonic()
    if not request.onnx_path.is_file():
        raise UsageError(f"onnx: expected a file, found none at {request.onnx_path}")
    with _Scratch(request.output) as folder:
        (folder / REQUEST_FILE).write_text(WorkOrder.of(request).to_json(), encoding="utf-8")
        reports = _Reports(request, on_progress)
        ending = run_child(
            [sys.executable, "-m", _WORKER],
            folder=folder,
            environment=_environment(request.builder),
            timeout_s=request.timeout_s,
            on_line=reports.take,
        )
        if request.log_path is not None and (folder / LOG_FILE).exists():
            shutil.copyfile(folder / LOG_FILE, request.log_path)
        if ending.timed_out or ending.returncode != 0 or reports.built is None:
            raise _failure(request, ending, reports, folder)
        plan = _plan(request, folder)
        os.replace(folder / ENGINE_FILE, request.output)
    return _engine(request, reports.built, plan, time.monotonic() - started)


def _engine(request: BuildRequest, built: Built, plan: Plan, build_seconds: float) -> Engine:
    return Engine(
        path=request.output,
        builder=request.builder,
        builder_version=built.builder_version,
        target=request.target.name,
        precision=request.precision,
        capabilities=tuple(dotted(c) for c in request.target.capabilities),
        sha256=built.sha256,
        size_bytes=built.size_bytes,
        build_seconds=build_seconds,
        input_name=request.input_name,
        profile=request.profile(),
        tf32=built.tf32,
        products=built.products,
        plan=plan,
        plugins=built.plugins,
    )


class _Scratch:
    """A hidden folder beside the output, so that the finished engine only has to be renamed; gone at the end."""

    def __init__(self, output: Path) -> None:
        self._parent = output.resolve().parent

    def __enter__(self) -> Path:
        try:
            self._path = Path(tempfile.mkdtemp(prefix=".build-", dir=self._parent))
        except OSError as error:
            raise OutputError(f"output: {self._parent} cannot be written: {error.strerror}") from error
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


class _Reports:
    """The worker's lines, as they come: progress to the caller, the ending kept."""

    def __init__(self, request: BuildRequest, on_progress: OnProgress) -> None:
        self._stage = f"engine {request.builder} {request.target.name}"
        self._on_progress = on_progress
        self.ended = ""
        self.message = ""
        self.built: Built | None = None

    def take(self, line: str) -> None:
        report = json.loads(line)
        if "ended" in report:
            self.ended = report["ended"]
            self.message = report.get("message", "")
            self.built = Built.from_dict(report["built"]) if self.ended == DONE else None
        else:
            total = max(report["total"], 1)
            self._on_progress(f"{self._stage}: {report['phase']}", min(report["done"] / total, 1.0))


def _environment(builder: str) -> dict[str, str]:
    """The child's environment: ours, our package on its path, and Polygraphy's switch for TensorRT for RTX."""
    package_root = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package_root, known)))}
    environment.pop("POLYGRAPHY_USE_TENSORRT_RTX", None)
    if builder == "rtx":
        environment["POLYGRAPHY_USE_TENSORRT_RTX"] = "1"
    return environment


def _plan(request: BuildRequest, folder: Path) -> Plan:
    try:
        log = _log_lines(folder)
        if request.builder == "rtx":
            return plan_from_log(log)
        layers = json.loads((folder / LAYERS_FILE).read_text(encoding="utf-8"))["Layers"]
        return plan_from_layers(layers, memory=memory_from_log(log))
    except (GrammarError, OSError, ValueError, KeyError) as error:
        raise BuildError(
            f"{_who(request)}: built, but its plan cannot be read, so its types cannot be judged: {error}",
            details=_log_tail(folder),
        ) from error


def _failure(request: BuildRequest, ending: Ending, reports: _Reports, folder: Path) -> FtsfError:
    who, details = _who(request), _log_tail(folder)
    if ending.stderr.strip():
        details += f"\n--- stderr\n{ending.stderr.strip()}"
    if ending.timed_out:
        return BuildError(f"{who}: not done after {request.timeout_s:g} s, killed; give it more time", details=details)
    fault = _first_fault(folder)
    if reports.ended == "usage":
        return UsageError(f"{who}: {reports.message}", details=details)
    if reports.ended == "lacks":
        install = INSTALL_RTX if request.builder == "rtx" else INSTALL_TENSORRT
        return EnvironmentLacks(reports.message, install=install, details=details)
    if reports.ended == "lacks-triton":
        return EnvironmentLacks(f"{who}: {reports.message}", install=INSTALL_PLUGINS, details=details)
    if reports.ended == "output":
        return OutputError(f"{who}: {reports.message}", details=details)
    if reports.ended == "build":
        return BuildError(f"{who}: refused {request.onnx_path.name}: {fault or reports.message}", details=details)
    died = ending.signal_name or f"exit status {ending.returncode}"
    said = fault or (ending.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return BuildError(f"{who}: the compiler died ({died}) on {request.onnx_path.name}: {said}", details=details)


def _who(request: BuildRequest) -> str:
    return f"builder {request.builder}, target {request.target.name}, {request.precision}"


def _log_lines(folder: Path) -> Sequence[str]:
    log = folder / LOG_FILE
    return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []


def _log_tail(folder: Path) -> str:
    return "\n".join(_log_lines(folder)[-_LOG_TAIL_LINES:])


def _first_fault(folder: Path) -> str:
    """The compiler's first complaint, on one line, with what helps where we know it."""
    messages = re.split(r"^\[(?=[A-Z_]+\] )", "\n".join(_log_lines(folder)), flags=re.MULTILINE)
    faults = [" ".join(m.split("] ", 1)[1].split()) for m in messages if m.startswith(_FAULT_MARKS)]
    if not faults:
        return ""
    fault = faults[0]
    # The parser names the node first, then prints it, and says what is wrong with it last.
    if "While parsing node" in fault:
        fault = f"{fault} {next((other for other in faults if 'ERROR:' in other), '')}"
    for symptom, mend in _MENDS:
        if any(symptom in other for other in faults):
            fault += f" ({mend})"
    return fault
