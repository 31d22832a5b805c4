"""``ftsf build``: engines for a bundle that is already there. Needs neither torch nor ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftsf_export.bundle import Bundle, EngineEntry, Manifest, record
from ftsf_export.config import BatchRange
from ftsf_export.disk import scratch_folder
from ftsf_export.engine.builder import Engine, build_engine
from ftsf_export.engine.choice import BuildPlanChoice, BuildTools, Deferred, EngineToBuild, resolve
from ftsf_export.engine.request import USUAL_OPTIONS, BuildOptions, BuildRequest, GraphFacts
from ftsf_export.engine.stacks import engine_warnings
from ftsf_export.engine.types import judge_types
from ftsf_export.errors import EnvironmentLacks, UsageError
from ftsf_export.network.gates import engine_types
from ftsf_export.pipeline.refresh import refresh_report
from ftsf_export.progress import OnProgress, silent
from ftsf_export.report import EngineFigures
from ftsf_export.verdict import Subject, Verdict, failing


@dataclass(frozen=True, kw_only=True)
class BuiltEngine:
    """An engine that was built."""

    engine: Engine  #: The file, and everything known about it.
    entry: EngineEntry  #: Of the manifest.
    sidecar: bytes  #: The bytes of the file beside the engine.
    verdict: Verdict  #: What the types gate found.


def figures_of(built: Iterable[BuiltEngine]) -> dict[str, EngineFigures]:
    """Engine file -> what the report shows of it beside the manifest's entry."""
    return {
        one.entry.file: EngineFigures(
            sha256=one.entry.sha256, build_seconds=one.engine.build_seconds, built=one.engine.sidecar()
        )
        for one in built
    }


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What a build came to."""

    bundle: Bundle  #: As it is now, with the engines.
    built: tuple[BuiltEngine, ...]  #: What was built here.
    deferred: tuple[Deferred, ...]  #: What has to be built elsewhere.
    stale: str = ""  #: Why the bundle's report stays as it was; "" where it shows the engines.
    #: What others have met with such engines: of those that were built, and of those that are left to machines whose
    #: TensorRT is known.
    warnings: tuple[str, ...] = ()

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return tuple(one.verdict for one in self.built)

    @property
    def failing(self) -> Verdict | None:
        """The first gate that says no; None when none does."""
        return next(iter(failing(self.verdicts)), None)

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type on the machines that build their own engine."""
        return tuple(one.command(str(self.bundle.path)) for one in self.deferred)


def build(
    path: str | Path,
    *,
    builder: str = "auto",
    targets: Sequence[str] = (),
    precision: str | None = None,
    batch: BatchRange | None = None,
    options: BuildOptions = USUAL_OPTIONS,
    tools: BuildTools | None = None,
    on_progress: OnProgress = silent,
) -> BuildResult:
    """Build engines for the bundle at ``path`` and record each, with its verdict, as soon as it is done.

    An engine whose gate failed is kept and its verdict says so; the caller decides on the exit code by
    ``BuildResult.failing``. ``precision`` and ``batch`` default to the bundle's; ``tools`` to this machine's.

    Raises BundleError, UsageError (an impossible pair, another precision than the graph's), EnvironmentLacks (also
    where no engine can be built here, with what to type where it can), BuildError: see ``resolve`` and
    ``build_engine``.
    """
    bundle, choice = planned_build(
        path, builder=builder, targets=targets, precision=precision, batch=batch, tools=tools
    )
    if not choice.to_build:
        elsewhere = "; ".join(f"{one.target.name}: {one.reason}" for one in choice.deferred)
        typed = "; ".join(one.command(str(bundle.path)) for one in choice.deferred)
        raise EnvironmentLacks(f"nothing was built: {elsewhere}; on that machine, run: {typed}")
    built = []
    with bundle.graph_copy() as graph, scratch_folder("ftsf-build-") as folder:
        facts = GraphFacts.of_manifest(bundle.manifest, graph, batch)
        for one in build_engines(choice, facts, folder, options=options, on_progress=on_progress):
            files: dict[str, Path | bytes] = {one.entry.file: one.engine.request.output, one.entry.sidecar: one.sidecar}
            bundle = record(bundle, engine=one.entry, files=files, verdicts=[one.verdict], by="build")
            built.append(one)
    bundle, stale = refresh_report(bundle, engines=figures_of(built))
    most = (batch or bundle.manifest.batch).maximum
    warnings = build_warnings(bundle.manifest, built, choice.deferred, most)
    return BuildResult(bundle=bundle, built=tuple(built), deferred=choice.deferred, stale=stale, warnings=warnings)


def build_warnings(
    manifest: Manifest, built: Iterable[BuiltEngine], deferred: Iterable[Deferred], most_clips: int
) -> tuple[str, ...]:
    """What others have met with such engines, whose largest batch is ``most_clips``."""
    here = [(one.entry.builder, one.engine.builder_version, one.entry.compute_capabilities) for one in built]
    there = [("tensorrt", one.target.tensorrt, one.target.capabilities) for one in deferred]
    found = [
        engine_warnings(manifest, builder=builder, version=version, capabilities=capabilities, most_clips=most_clips)
        for builder, version, capabilities in (*here, *there)
    ]
    return tuple(dict.fromkeys(warning for warnings in found for warning in warnings))


def planned_build(
    path: str | Path,
    *,
    builder: str = "auto",
    targets: Sequence[str] = (),
    precision: str | None = None,
    batch: BatchRange | None = None,
    tools: BuildTools | None = None,
) -> tuple[Bundle, BuildPlanChoice]:
    """The bundle at ``path``, and what ``build`` would build for it and leave to other machines. Raises as it does."""
    if builder == "none":
        raise UsageError("builder: ftsf build makes engines; expected one of auto, tensorrt, rtx, got 'none'")
    bundle = Bundle.open(path)
    manifest = bundle.manifest
    if precision is not None and precision != manifest.precision:
        raise UsageError(
            f"precision: the bundle's graph is {manifest.precision}, and so are its engines; got {precision!r}; "
            f"make another bundle with ftsf-export --precision {precision}"
        )
    _check_batch(manifest, batch)
    return bundle, resolve(builder, targets, manifest.precision, tools)


def build_engines(
    choice: BuildPlanChoice,
    facts: GraphFacts,
    folder: Path,
    *,
    options: BuildOptions = USUAL_OPTIONS,
    on_progress: OnProgress = silent,
) -> Iterator[BuiltEngine]:
    """Build each engine into ``folder``/engines/... and judge its types; one at a time, as they are asked for."""
    for wanted in choice.to_build:
        yield _build_one(wanted, facts, folder, options, on_progress)


def _build_one(
    wanted: EngineToBuild, facts: GraphFacts, folder: Path, options: BuildOptions, on_progress: OnProgress
) -> BuiltEngine:
    stem = wanted.stem(facts.precision)
    output = folder / f"{stem}.engine"
    output.parent.mkdir(parents=True, exist_ok=True)
    request = BuildRequest(graph=facts, builder=wanted.builder, target=wanted.target, output=output, options=options)
    engine = build_engine(request, on_progress=on_progress)
    entry = EngineEntry(
        file=f"{stem}.engine",
        sidecar=f"{stem}.json",
        builder=wanted.builder,
        target=wanted.target.name,
        precision=facts.precision,
        compute_capabilities=wanted.target.capabilities,
        sha256=engine.sha256,
    )
    verdict = judge_types(
        engine.plan,
        facts.precision,
        gate=engine_types(entry.builder, entry.target),
        subject=Subject(entry.file, entry.sha256),
        products=engine.products,
        islands=facts.islands,
        tf32=engine.tf32,
    )
    return BuiltEngine(engine=engine, entry=entry, sidecar=engine.sidecar_bytes(), verdict=verdict)


def _check_batch(manifest: Manifest, batch: BatchRange | None) -> None:
    if batch is not None and manifest.batch.static and batch != manifest.batch:
        raise UsageError(
            f"batch: the bundle's graph takes exactly {manifest.batch} clips in a call, got {batch}; "
            f"make another bundle with ftsf-export --batch {batch}"
        )
