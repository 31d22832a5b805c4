"""The parity gates: one file of a bundle against the reference values. No PyTorch.

Letters: n clips, S sampled values of one tap.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftsf_export.bundle import EngineEntry, Golden, sample_tap
from ftsf_export.config import BatchRange
from ftsf_export.errors import EnvironmentLacks, GateFailed
from ftsf_export.parity.compare import Outputs, collect, paired
from ftsf_export.parity.judge import Limits, Pair, judge
from ftsf_export.parity.locate import LOGITS
from ftsf_export.progress import OnProgress, silent
from ftsf_export.verdict import Status, Verdict

FP32 = "fp32"


def onnx_gate(precision: str) -> str:
    """``parity.onnx-fp32``, or for a half type the name that says how it was judged: ``parity.fp16-emulated``."""
    return "parity.onnx-fp32" if precision == FP32 else f"parity.{precision}-emulated"


def engine_gate(engine: EngineEntry) -> str:
    return f"parity.engine-{engine.builder}-{engine.target}"


def judge_onnx(
    path: Path,
    golden: Golden,
    *,
    precision: str,
    taps: Sequence[str],
    batch: BatchRange,
    limits: Limits,
    subject: str,
    subject_sha256: str,
) -> Verdict:
    """An ONNX file on ONNX Runtime's CPU provider, every module and the logits.

    No CPU computes in half precision as a GPU does, so fp16 and bf16 are judged on the file's cast-emulated form (an
    FP32 graph that rounds every tensor to the type), and the verdict says what it stands in for. Raises
    EnvironmentLacks without onnx or ONNX Runtime, RunError when the file does not run; outputs that are missing, too
    many or of another shape make a failed verdict.
    """
    from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

    gate, proxy = onnx_gate(precision), "" if precision == FP32 else f"{precision} on a GPU"
    with judged_form(path, precision) as judged:
        runner = OnnxRuntimeRunner(judged, taps=taps, optimize=precision == FP32)
        return _verdict(runner, golden, gate, taps, batch, limits, subject, subject_sha256, proxy)


@contextmanager
def judged_form(path: Path, precision: str) -> Iterator[Path]:
    """The file that stands in for ``path`` on a CPU: itself in fp32, else its cast-emulated form, while it lasts."""
    if precision == FP32:
        yield path
        return
    from ftsf_export.graph.emulate import emulate

    with tempfile.TemporaryDirectory(prefix="ftsf-verify-") as folder:
        judged = Path(folder) / "emulated.onnx"
        emulate(path, judged)
        yield judged


def judge_engine(path: Path, golden: Golden, engine: EngineEntry, *, batch: BatchRange, limits: Limits) -> Verdict:
    """An engine on this machine's GPU, in a process of its own. An engine gives its logits alone."""
    from ftsf_export.runners.child_runner import ChildRunner

    runner = ChildRunner(path, backend=engine.builder)
    return _verdict(runner, golden, engine_gate(engine), (), batch, limits, engine.file, engine.sha256, "")


def engine_verdict(
    path: Path,
    golden: Golden,
    engine: EngineEntry,
    *,
    required: bool,
    batch: BatchRange,
    limits: Limits,
    on_progress: OnProgress = silent,
) -> Verdict:
    """``judge_engine`` where this machine can run the engine; else not run, with the reason.

    Raises EnvironmentLacks instead where the engine was ``required`` by name.
    """
    from ftsf_export.runners.driver import compute_capability
    from ftsf_export.runners.tensorrt import require_tensorrt

    reason = ""
    try:
        require_tensorrt(engine.builder)
    except EnvironmentLacks as error:
        if required:
            raise
        reason = error.message
    if not reason and (here := compute_capability()) not in engine.compute_capabilities:
        built_for = ", ".join(engine.compute_capabilities)
        reason = f"built for compute capability {built_for}; this machine's GPU has {here}"
        if required:
            raise EnvironmentLacks(f"{engine.file}: {reason}; run it there, or build for this GPU with ftsf build")
    if reason:
        return Verdict(
            gate=engine_gate(engine),
            status=Status.NOT_RUN,
            subject=engine.file,
            subject_sha256=engine.sha256,
            reason=reason,
        )
    on_progress(f"run {engine.file} on the GPU", None)
    return judge_engine(path, golden, engine, batch=batch, limits=limits)


def _verdict(
    runner: Any,
    golden: Golden,
    gate: str,
    taps: Sequence[str],
    batch: BatchRange,
    limits: Limits,
    subject: str,
    subject_sha256: str,
    proxy_for: str,
) -> Verdict:
    try:
        return judge(
            golden_pairs(golden, collect(runner, golden.clip, batch=batch), taps),
            gate=gate,
            subject=subject,
            subject_sha256=subject_sha256,
            limits=limits,
            taps=taps,
            proxy_for=proxy_for,
        )
    except GateFailed as error:
        return Verdict(
            gate=gate,
            status=Status.FAILED,
            subject=subject,
            subject_sha256=subject_sha256,
            reason=error.message,
            proxy_for=proxy_for,
        )


def golden_pairs(golden: Golden, outputs: Outputs, taps: Sequence[str]) -> dict[str, Pair]:
    """Reference and candidate by name; the candidate's taps at the positions that the reference keeps."""
    sampled = {name: value if name == LOGITS else sample_tap(value) for name, value in outputs.items()}
    return paired({LOGITS: golden.logits, **{name: golden.taps[name] for name in taps}}, sampled)
