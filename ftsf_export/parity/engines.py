"""An engine of a bundle against the reference values in it, where this machine can run the engine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from ftsf_export.bundle import EngineEntry
from ftsf_export.bundle.golden import Golden
from ftsf_export.config import BatchRange
from ftsf_export.errors import EnvironmentLacks
from ftsf_export.network.gates import parity_engine
from ftsf_export.parity.every_slot import judge_every_slot
from ftsf_export.parity.judge import Limits
from ftsf_export.progress import OnProgress, silent
from ftsf_export.verdict import Subject, Verdict


def judge_engine(
    copy: AbstractContextManager[Path],
    golden: Golden,
    engine: EngineEntry,
    *,
    required: bool,
    profile: BatchRange,
    limits: Limits,
    on_progress: OnProgress = silent,
) -> Verdict:
    """The engine on this machine's GPU, in a process of its own; not run, with the reason, where it cannot run here.

    ``copy`` gives a path of the engine while it lasts; ``profile`` says how many clips it takes. An engine gives its
    outputs alone. Raises EnvironmentLacks where it cannot run and was ``required`` by name.
    """
    from ftsf_export.runners.child_runner import ChildRunner

    gate, subject = parity_engine(engine.builder, engine.target), Subject(engine.file, engine.sha256)
    try:
        _require_home(engine)
    except EnvironmentLacks as error:
        if required:
            raise
        return gate.not_run(subject, error.message)
    on_progress(f"run {engine.file} on the GPU", None)
    with copy as path:
        runner = ChildRunner(path, backend=engine.builder)
        verdict = judge_every_slot(runner, golden, gate=gate, subject=subject, limits=limits, batch=profile)
    return replace(verdict, conditions=f"{verdict.conditions}; kernels {runner.kernels}")


def _require_home(engine: EngineEntry) -> None:
    """Raises EnvironmentLacks where this machine lacks the engine's runtime, or the GPU that it was built for."""
    from ftsf_export.runners.tensorrt import require_tensorrt

    here = require_tensorrt(engine.builder).capability
    if here not in engine.compute_capabilities:
        raise EnvironmentLacks(
            f"{engine.file}: built for compute capability {', '.join(engine.compute_capabilities)}; this machine's GPU "
            f"has {here}; run it there, or build for this GPU with ftsf build"
        )
