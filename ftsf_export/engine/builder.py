"""ONNX to engine, in a process of its own; what comes back is the file and everything known about it."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ftsf_export.config import OPSET_DECOMPOSED
from ftsf_export.disk import refusals_translated_at
from ftsf_export.engine.grammar import GrammarError
from ftsf_export.engine.inspection import Inspection, inspected
from ftsf_export.engine.inspector_json import plan_from_inspector
from ftsf_export.engine.kernel_plan import Plan, memory_from_log, plan_from_log
from ftsf_export.engine.request import BuildRequest, Built, CompilerRefusal
from ftsf_export.errors import BuildError, EnvironmentLacks, UsageError
from ftsf_export.plan_record import Memory, Sidecar
from ftsf_export.process.parent import Ending, run_in_child
from ftsf_export.process.quota import OVER_QUOTA, Quota
from ftsf_export.progress import OnProgress, silent
from ftsf_export.strict_json import bytes_from_json, plain, structured

_WORKER = "ftsf_export.engine.worker:build"
_LOG_TAIL_LINES = 40
# Of a limited build. The documented model (136 MB) takes 7 s on one core of a 2.5 GHz Xeon, and 0.9 GiB.
_LEAST_S, _BYTES_A_S = 60.0, 1e6
_LEAST_BYTES, _COPIES = 1 << 30, 24
_FAULT_MARKS = ("INTERNAL_ERROR] ", "ERROR] ")
_NO_SUCH_ATTENTION = ("[Attention ->", "IAttention", "dedicated kernel")
_DECOMPOSE = f"export again with --opset {OPSET_DECOMPOSED}"
# What a complaint holds -> what the user can do about it.
_MENDS = (
    ("op: Attention", f"this parser knows no Attention operator: {_DECOMPOSE}"),
    *((mark, f"this compiler takes no such Attention: {_DECOMPOSE}") for mark in _NO_SUCH_ATTENTION),
    ("within workspace limit", "the workspace limit is too small: give it more MiB, or none"),
)


@dataclass(frozen=True, kw_only=True)
class Engine(Built):
    """A compiled engine and what is known about it."""

    request: BuildRequest  #: What was asked; its output is the plan file, with no header of ours.
    build_seconds: float  #: From the request to the file.
    #: Kernels and memory, as the builder told them; with dynamic shapes at the usual batch, where it tells that.
    plan: Plan
    #: Batch -> the same engine's plan at it, of its least, usual and largest one; empty where the builder tells the
    #: plan of no batch in particular.
    plans_at_batch: Mapping[int, Plan]

    def sidecar(self) -> Sidecar:
        request, plan = self.request, self.plan
        return Sidecar(
            builder=request.builder,
            builder_version=self.builder_version,
            target=request.target.name,
            precision=request.graph.precision,
            compute_capabilities=request.target.capabilities,
            sha256=self.sha256,
            size_bytes=self.size_bytes,
            input=request.graph.input_name,
            profile=dict(zip(("min", "opt", "max"), request.profile(), strict=True)),
            tf32=self.tf32,
            plugins=self.plugins,
            kernels=len(plan.kernels),
            layer_types=plan.layer_types(),
            moved_bytes=plan.moved_bytes,
            fused_attentions=plan.fused_attentions,
            product_operand_types=plan.operand_types(),
            memory=plan.memory,
            problem=plan.problem,
        )

    def sidecar_bytes(self) -> bytes:
        return bytes_from_json(plain(self.sidecar()))


def build_engine(request: BuildRequest, *, on_progress: OnProgress = silent) -> Engine:
    """Compile one engine. ``request.output`` appears when all is well, and not otherwise.

    Raises UsageError for a graph that does not fit the request, EnvironmentLacks for a compiler that cannot be
    loaded, OutputError for a place that cannot be written, BuildError when the compiler refuses, crashes or runs
    out of time, with the tail of its own log in ``details``.
    """
    started = time.monotonic()
    if not request.graph.onnx_path.is_file():
        raise UsageError(f"onnx: expected a file, found none at {request.graph.onnx_path}")
    with _scratch(request.output) as folder:
        order = _order(request, Path(folder))
        complaints = _Complaints(order)
        # The log of an earlier build would be taken for this one's.
        order.log_path.unlink(missing_ok=True)
        try:
            answer = run_in_child(
                _WORKER,
                plain(order),
                failed=complaints.failed,
                on_note=partial(_show, f"engine {request.builder} {request.target.name}", on_progress),
                timeout_s=request.options.timeout_s,
                quota=_quota(request),
                folder=Path(folder),
            )
        except CompilerRefusal as refusal:
            raise complaints.refused(refusal) from refusal
        except (UsageError, EnvironmentLacks) as error:
            error.details = complaints.details(error.details)
            raise
        seconds = time.monotonic() - started
        # From here on there is an engine, and nothing that cannot be told of it takes it away.
        plans = _plans(order, complaints.log())
        order.output.replace(request.output)
    built = structured(answer.value, Built, "the process that compiles")
    return Engine(**vars(built), request=request, build_seconds=seconds, plan=plans[0], plans_at_batch=plans[1])


def _quota(request: BuildRequest) -> Quota | None:
    """Of TensorRT for RTX; TensorRT proper measures kernels on the GPU for as long as it takes."""
    if not request.options.limited or request.builder != "rtx":
        return None
    path = request.graph.onnx_path
    size = sum(one.stat().st_size for one in path.parent.iterdir() if one.name.startswith(path.name))
    return Quota(processor_s=_LEAST_S + size / _BYTES_A_S, memory_bytes=_LEAST_BYTES + _COPIES * size)


def _order(request: BuildRequest, folder: Path) -> BuildRequest:
    """The request as the worker reads it, which runs in ``folder`` and writes there: its paths are absolute."""
    given = ("timing_cache", "plugin_kernels", "log_folder")
    paths = {name: path.resolve() for name in given if (path := getattr(request.options, name)) is not None}
    return replace(
        request,
        graph=replace(request.graph, onnx_path=request.graph.onnx_path.resolve()),
        output=folder.resolve() / request.output.name,
        options=replace(request.options, **paths),
    )


def _scratch(output: Path) -> tempfile.TemporaryDirectory[str]:
    """A hidden folder beside the output, so that the finished engine only has to be renamed."""
    parent = output.resolve().parent
    with refusals_translated_at(parent, "make a folder for the engine"):
        return tempfile.TemporaryDirectory(prefix=".build-", dir=parent, ignore_cleanup_errors=True)


def _show(stage: str, on_progress: OnProgress, note: dict[str, Any]) -> None:
    on_progress(f"{stage}: {note['phase']}", min(note["done"] / max(note["total"], 1), 1.0))


class _Complaints:
    """Errors about one build, out of what its compiler has written to its log."""

    def __init__(self, request: BuildRequest) -> None:
        self._request = request

    def log(self) -> list[str]:
        if not self._request.log_path.exists():
            return []
        return self._request.log_path.read_text(encoding="utf-8", errors="replace").splitlines()

    def details(self, rest: str) -> str:
        """The end of the log, and ``rest``."""
        return "\n".join(filter(None, [*self.log()[-_LOG_TAIL_LINES:], rest]))

    def failed(self, ending: Ending) -> BuildError:
        what = f"the compiler {ending.how} on {self._request.graph.onnx_path.name}"
        if ending.timed_out:
            return BuildError(f"{self._request.title}: {what}; give it more time", details=self.details(ending.details))
        if ending.over_quota:
            return BuildError(f"{self._request.title}: {what}: {OVER_QUOTA}", details=self.details(ending.details))
        return self._error(what, ending.said, ending.details)

    def refused(self, refusal: CompilerRefusal) -> BuildError:
        return self._error(f"refused {self._request.graph.onnx_path.name}", refusal.message, refusal.details)

    def _error(self, what: str, said: str, details: str) -> BuildError:
        said = self._first_fault() or said
        return BuildError(f"{self._request.title}: {what}: {said}", details=self.details(details))

    def _first_fault(self) -> str:
        """The compiler's first complaint, on one line, with what helps where we know it."""
        messages = re.split(r"^\[(?=[A-Z_]+\] )", "\n".join(self.log()), flags=re.MULTILINE)
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


def _plans(order: BuildRequest, log: list[str]) -> tuple[Plan, dict[int, Plan]]:
    """The plan of an engine that was just built, and its plan at each batch of the profile. Never raises: what cannot
    be read is a plan with its ``problem``, by which the types gate does not pass."""
    memory = memory_from_log(log)
    if order.builder == "rtx":
        try:
            return plan_from_log(log), {}
        except GrammarError as error:
            return Plan((), memory, problem=str(error)), {}
    usual = order.graph.batch.optimum
    batches = dict.fromkeys((usual, *order.graph.batch.sizes)) if not order.graph.batch.static else {}
    told = inspected(
        Inspection(
            engine=order.output,
            input_name=order.graph.input_name,
            shapes=tuple((batch, *order.graph.clip_shape) for batch in batches),
        ),
        timeout_s=order.options.timeout_s,
        folder=order.output.parent,
    )
    plans = [_inspected_plan(text, memory, told.problem) for text in told.layers]
    plan = plans[0] if plans else Plan((), memory, problem=told.problem)
    return plan, {} if told.problem or not batches else dict(zip(batches, plans, strict=True))


def _inspected_plan(text: str, memory: Memory, problem: str) -> Plan:
    try:
        return replace(plan_from_inspector(text, memory=memory), problem=problem)
    except GrammarError as error:
        return Plan((), memory, problem=f"the inspector's layers cannot be read: {error}")
