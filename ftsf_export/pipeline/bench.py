"""Measure a bundle: its engines on the GPU that they fit, else its ONNX file in ONNX Runtime on the CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from ftsf_export.bench.measurement import Measurement, measure_in_child
from ftsf_export.bench.outputs import Array, batch_of_clips
from ftsf_export.bench.request import BenchRequest
from ftsf_export.bundle import ONNX_NAME, Bundle, EngineEntry, Preprocessing
from ftsf_export.bundle.specs import STRIDE
from ftsf_export.doctor.machine import processor_name, usable_cpus
from ftsf_export.doctor.packages import ONNX_RUNTIMES
from ftsf_export.errors import BundleError, ConfigError, EnvironmentLacks
from ftsf_export.network.gates import Gate, parity_engine, parity_graph
from ftsf_export.pipeline.graph_quota import graph_quota, require_room_for_calls
from ftsf_export.pipeline.refresh import refresh_report
from ftsf_export.precision import OnCpu, precision_named
from ftsf_export.progress import OnProgress, silent
from ftsf_export.runners.driver import Gpu, first_gpu, require_gpu
from ftsf_export.timing import TimedFile, Timing
from ftsf_export.verdict import Status

CPU_HEADING = "CPU (ONNX Runtime)"


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """What was measured."""

    bundle: Bundle  #: With the figures in its report.
    timings: tuple[Timing, ...]  #: One a file and way of running it.
    stale: str  #: Why the report stays as it was; "" where it has the figures.


def benchmark(
    path: str | Path, request: BenchRequest | None = None, *, on_progress: OnProgress = silent
) -> BenchResult:
    """Measures a bundle's files and writes the figures into its report. Raises as ``measure_bundle``."""
    timings = measure_bundle(path, request, on_progress=on_progress)
    bundle, stale = refresh_report(Bundle.open(path), timings=timings)
    return BenchResult(bundle=bundle, timings=timings, stale=stale)


def measure_bundle(
    path: str | Path, request: BenchRequest | None = None, *, on_progress: OnProgress = silent
) -> tuple[Timing, ...]:
    """Measure a bundle's files, one call at a time; one Timing a file and way of running it.

    An engine gives two, with CUDA graphs off and on. Raises BundleError; ConfigError for a batch that the bundle does
    not take; EnvironmentLacks for what cannot run here; RunError for a file that does not run.
    """
    request = request or BenchRequest()
    bundle = Bundle.open(path)
    batch = _batch_size(bundle, request)
    if request.runner == "onnxruntime":
        return _time_on_cpu(bundle, request, batch, on_progress)
    if request.runner != "auto":
        require_gpu(f"to run an engine with {request.runner}")
    gpu = first_gpu()
    if gpu is None:
        return _time_on_cpu(bundle, request, batch, on_progress)
    if engines := _fitting(bundle, gpu, request.runner):
        return _time_engines(bundle, engines, gpu, request, batch, on_progress)
    reason = f"no engine of this bundle runs on {gpu.name} (compute capability {gpu.capability}); run: ftsf build"
    if request.runner != "auto":
        raise EnvironmentLacks(reason)
    return _time_on_cpu(bundle, request, batch, on_progress, note=f"not measured on a GPU: {reason}")


def _batch_size(bundle: Bundle, request: BenchRequest) -> int:
    allowed = bundle.manifest.batch
    batch = allowed.optimum if request.batch is None else request.batch
    if not allowed.minimum <= batch <= allowed.maximum:
        raise ConfigError(
            [f"batch: this bundle takes {allowed.minimum} to {allowed.maximum} clips a call, got {batch}"]
        )
    return batch


def _fitting(bundle: Bundle, gpu: Gpu, runner: str) -> tuple[EngineEntry, ...]:
    return tuple(
        engine
        for engine in bundle.engines
        if gpu.capability in engine.compute_capabilities and runner in ("auto", engine.builder)
    )


def _feed(bundle: Bundle, batch: int) -> dict[str, Array]:
    inputs = bundle.manifest.inputs
    if len(inputs) != 1:
        raise BundleError(f"{bundle.path}: inputs: expected one, got {len(inputs)}; golden values hold one")
    return {inputs[0].name: batch_of_clips(bundle.golden().clip.astype(inputs[0].dtype), batch)}


def _output_shapes(bundle: Bundle, batch: int) -> dict[str, tuple[int, ...]]:
    return {
        spec.name: tuple(batch if isinstance(size, str) else size for size in spec.shape)
        for spec in bundle.manifest.outputs
    }


def _subject(bundle: Bundle, name: str, precision: str, parity: Gate, batch: int, request: BenchRequest) -> TimedFile:
    """What every way of running has in common; the heading and conditions are the caller's."""
    how = bundle.manifest.preprocessing
    clip_s = how.clip_s(request.source_fps)
    return TimedFile(
        heading="",
        on_gpu=False,
        file=name,
        sha256=bundle.manifest.files[name].sha256,
        weights=bundle.manifest.weights_described,
        precision=precision,
        batch=batch,
        clip_s=clip_s,
        clip_assumption=_assumption(how, request.source_fps),
        conditions={},
        notes=_doubts(bundle, name, parity),
    )


def _assumption(how: Preprocessing, fps: float) -> str:
    """How the seconds that a clip stands for are found; "" where it stands for the whole video."""
    if how.sampling != STRIDE:
        return "" if how.clip_s(fps) is None else f"a clip stands for {how.sampled}"
    span = f"{how.frames} frames x stride {how.stride} = {how.frames * how.stride} frames"
    return f"a clip stands for {span} of a video of {fps:g} frames a second"


def _doubts(bundle: Bundle, name: str, parity: Gate) -> tuple[str, ...]:
    """What speaks against believing the file's outputs: gates that failed, or that its parity gate has not passed."""
    about = [verdict for verdict in bundle.verdicts if verdict.subject.file == name]
    failed = tuple(
        f"{verdict.gate} failed on {name}: {verdict.reason}" for verdict in about if verdict.status is Status.FAILED
    )
    # A pass at a user's own limits says nothing at those of the precision.
    if failed or any(one.passed and one.gate == parity.name and not one.own_limits for one in about):
        return failed
    return (f"{parity.name} has not passed {name}: its outputs are not known to be right; run: ftsf verify",)


def _time_engines(
    bundle: Bundle,
    engines: tuple[EngineEntry, ...],
    gpu: Gpu,
    request: BenchRequest,
    batch: int,
    on_progress: OnProgress,
) -> tuple[Timing, ...]:
    """Every engine whose library is here; the first timing names the others. Raises EnvironmentLacks where none is."""
    timings: list[Timing] = []
    lacks: dict[str, EnvironmentLacks] = {}
    for entry in engines:
        try:
            timings += _time_engine(bundle, entry, gpu, request, batch, on_progress)
        except EnvironmentLacks as error:
            lacks[entry.file] = error
            on_progress(f"{entry.file} is not measured: {error.message}", None)
    if not timings:
        raise next(iter(lacks.values()))
    notes = tuple(f"{file} was not measured: {error.message}" for file, error in lacks.items())
    first = timings[0]
    subject = replace(first.subject, notes=(*first.subject.notes, *notes))
    return (replace(first, subject=subject), *timings[1:])


def _time_engine(
    bundle: Bundle, entry: EngineEntry, gpu: Gpu, request: BenchRequest, batch: int, on_progress: OnProgress
) -> tuple[Timing, ...]:
    parity = parity_engine(entry.builder, entry.target)
    subject = replace(
        _subject(bundle, entry.file, entry.precision, parity, batch, request), heading=gpu.name, on_gpu=True
    )
    with bundle.engine_copy(entry) as path:
        return _measure(bundle, entry.builder, path, subject, request, on_progress)


def _time_on_cpu(
    bundle: Bundle, request: BenchRequest, batch: int, on_progress: OnProgress, note: str = ""
) -> tuple[Timing, ...]:
    """ONNX Runtime on the CPU, under that heading and no other."""
    precision = precision_named(bundle.manifest.precision)
    if precision.judged.on_cpu is OnCpu.REFUSES:
        raise EnvironmentLacks(
            f"{bundle.onnx_path}: ONNX Runtime runs no {precision.name} graph on a CPU; measure it on a GPU, "
            "or export with --precision fp32"
        )
    subject = _subject(bundle, ONNX_NAME, precision.name, parity_graph(precision), batch, request)
    widened = (
        f"ONNX Runtime computes {precision.name} graphs in fp32 on a CPU, with conversions in between: "
        f"this says nothing about {precision.name} on a GPU"
    )
    said = [note] if note else []
    notes = [*subject.notes, *said, *([widened] if precision.judged.on_cpu is OnCpu.WIDENS else [])]
    subject = replace(subject, heading=CPU_HEADING, conditions=_cpu_conditions(request), notes=tuple(notes))
    with bundle.graph_copy() as path:
        return _measure(bundle, "onnxruntime", path, subject, request, on_progress)


def _measure(
    bundle: Bundle, backend: str, file: Path, subject: TimedFile, request: BenchRequest, on_progress: OnProgress
) -> tuple[Timing, ...]:
    on_progress(f"timing {subject.file} on {subject.heading}", None)
    measurement = Measurement(
        backend=backend,
        file=file.resolve(),
        shapes=_output_shapes(bundle, subject.batch),
        subject=subject,
        schedule=request.schedule(),
        threads=request.threads,
    )
    quota = None
    if request.limited and backend == "onnxruntime":
        require_room_for_calls(bundle.manifest, subject.batch)
        quota = graph_quota(bundle.manifest, subject.batch)
    return measure_in_child(measurement, _feed(bundle, subject.batch), quota)


def _cpu_conditions(request: BenchRequest) -> dict[str, str]:
    versions = (_version(name) for name in ONNX_RUNTIMES)
    return {
        "processor": f"{processor_name()}, {usable_cpus()} usable",
        "runtime": f"ONNX Runtime {next(filter(None, versions), 'of unknown version')}",
        "provider": "CPUExecutionProvider",
        "threads": "ONNX Runtime's own choice" if request.threads is None else str(request.threads),
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
