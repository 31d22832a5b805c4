"""What runs a bundle best on this machine: an engine on its GPU, ONNX Runtime there, or ONNX Runtime on the CPU.

Letters: n clips, L classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Bundle, EngineEntry, Manifest
from ftsf_export.config import ENGINE_BUILDERS, BatchRange
from ftsf_export.errors import EnvironmentLacks, RunError, UsageError
from ftsf_export.network.scope import LOGITS
from ftsf_export.pipeline.engine_profile import profile_of
from ftsf_export.pipeline.graph_quota import graph_quota, require_room_for_calls
from ftsf_export.pipeline.graph_runner import graph_runner
from ftsf_export.precision import OnCpu, precision_named
from ftsf_export.progress import OnProgress
from ftsf_export.runners.driver import Gpu, first_gpu, require_gpu

ON_CUDA, ON_CPU = "onnxruntime-cuda", "onnxruntime-cpu"
# TensorRT measured the kernels of its engines on the very GPU; an engine for RTX fits several.


@dataclass(frozen=True)
class Way:
    """One way of running a bundle here."""

    name: str  #: "tensorrt", "rtx", "onnxruntime-cuda" or "onnxruntime-cpu".
    engine: EngineEntry | None = None  #: The engine; None for the graph.


@dataclass(frozen=True)
class Classifier:
    """A model that is ready to run."""

    name: str  #: Of the way.
    batch: BatchRange  #: Clips in one call.
    passed_over: tuple[str, ...]  #: Better ways, each with why it does not work here.
    input_name: str  #: Of the graph's input.
    dtype: str  #: Of the graph's input.
    runner: Any  #: A Polygraphy runner, active.

    def logits(self, clips: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, L) for n clips (n, ...) as the graph takes them, at most ``batch.maximum``. Raises RunError.

        Where the graph takes no fewer, the call is filled up with clips again, whose results are dropped.
        """
        count = len(clips)
        called = clips if count >= self.batch.minimum else clips[np.arange(self.batch.minimum) % count]
        feed = {self.input_name: np.ascontiguousarray(called, self.dtype)}
        logits: npt.NDArray[Any] = self.runner.infer(feed, check_inputs=False)[LOGITS][:count]
        return logits


def ways(manifest: Manifest, runner: str, gpu: Gpu | None) -> tuple[Way, ...]:
    """The ways that ``runner`` (one of RUNNERS) allows on a machine with this GPU, the best first."""
    engines = [
        Way(builder, engine)
        for builder in ENGINE_BUILDERS
        for engine in manifest.engines
        if engine.builder == builder and gpu is not None and gpu.capability in engine.compute_capabilities
    ]
    if runner in ENGINE_BUILDERS:
        return tuple(way for way in engines if way.name == runner)
    graph = [Way(ON_CUDA)] if gpu is not None else []
    return (*(engines if runner == "auto" else ()), *graph, Way(ON_CPU))


@contextmanager
def open_classifier(
    bundle: Bundle, runner: str, *, limited: bool, threads: int | None, on_progress: OnProgress
) -> Iterator[Classifier]:
    """The best way that works, opened. ``limited``: see ``graph_quota``; ``threads``: of ONNX Runtime.

    Raises UsageError for a bundle that gives no class scores, EnvironmentLacks where nothing here runs it, RunError
    where the last way breaks.
    """
    if LOGITS not in {spec.name for spec in bundle.manifest.outputs}:
        raise UsageError(f"{bundle.path}: gives features alone, no class scores; export it without --features only")
    gpu = require_gpu(f"to run an engine with {runner}") if runner in ENGINE_BUILDERS else first_gpu()
    possible = ways(bundle.manifest, runner, gpu)
    if not possible:
        raise EnvironmentLacks(
            f"no engine of {runner} in this bundle runs on {gpu.name if gpu else 'this machine'}; run: ftsf build"
        )
    with ExitStack() as stack:
        passed_over: list[str] = []
        for way in possible:
            on_progress(f"load the model: {way.name}", None)
            attempt = ExitStack()
            try:
                batch, active = attempt.enter_context(_active(bundle, way, limited, threads))
            except (EnvironmentLacks, RunError) as error:
                attempt.close()
                if way is possible[-1]:
                    raise
                passed_over.append(f"{way.name}: {error.message}")
                continue
            stack.enter_context(attempt)
            break
        taken = bundle.manifest.inputs[0]
        yield Classifier(way.name, batch, tuple(passed_over), taken.name, taken.dtype, active)


@contextmanager
def _active(bundle: Bundle, way: Way, limited: bool, threads: int | None) -> Iterator[tuple[BatchRange, Any]]:
    """How many clips a call takes, and the runner, active while it lasts."""
    from ftsf_export.runners.child_runner import ChildRunner
    from ftsf_export.runners.onnxruntime import CUDA

    with ExitStack() as stack:
        if way.engine is not None:
            from ftsf_export.runners.tensorrt import require_tensorrt

            require_tensorrt(way.engine.builder)
            batch = profile_of(bundle, way.engine)
            runner: Any = ChildRunner(stack.enter_context(bundle.engine_copy(way.engine)), backend=way.engine.builder)
        else:
            batch, path = bundle.manifest.batch, stack.enter_context(bundle.graph_copy())
            if way.name == ON_CUDA:
                runner = ChildRunner(path, backend="onnxruntime", options={"provider": CUDA})
            else:
                runner = stack.enter_context(_on_cpu(bundle, path, limited, threads))
        yield batch, stack.enter_context(runner)


@contextmanager
def _on_cpu(bundle: Bundle, path: Path, limited: bool, threads: int | None) -> Iterator[Any]:
    """ONNX Runtime's CPU provider with the graph, or with its emulated form where it does not load the graph."""
    from ftsf_export.runners.child_runner import ChildRunner

    manifest = bundle.manifest
    precision, clips = precision_named(manifest.precision), manifest.batch.optimum
    if limited:
        require_room_for_calls(manifest, clips)
    quota = graph_quota(manifest, clips) if limited else None
    if precision.judged.on_cpu is OnCpu.REFUSES:
        with graph_runner(path, precision, quota=quota) as runner:
            yield runner
        return
    # Threads that wait would take the processors from the readers of videos.
    yield ChildRunner(path, backend="onnxruntime", quota=quota, options={"spins": False, "threads": threads})
