"""``verify``: is this bundle still the model that was exported? On any machine, without PyTorch.

The bundle brings its own evidence: clips, and what eager PyTorch made of them in FP32. Held against it are the graph on
ONNX Runtime (half types cast-emulated) and, where there is a GPU, every engine that was built for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftsf_export.bundle import GOLDEN_NAME, ONNX_NAME, Bundle, Manifest
from ftsf_export.bundle.golden import Golden
from ftsf_export.config import RUNNERS
from ftsf_export.doctor.packages import RUNS_GRAPHS, lacking_modules
from ftsf_export.engine.stacks import engine_warnings
from ftsf_export.errors import ConfigError, EnvironmentLacks, OutputError, UsageError, install_command
from ftsf_export.network.gates import parity_graph
from ftsf_export.parity.compare import clips_a_call
from ftsf_export.parity.engines import judge_engine
from ftsf_export.parity.golden import doubted_where_unproven, judge_golden, judge_labels
from ftsf_export.parity.judge import Limits
from ftsf_export.pipeline.engine_profile import profile_of, sidecar_of
from ftsf_export.pipeline.graph_quota import graph_quota, require_room_for_calls
from ftsf_export.pipeline.graph_runner import graph_runner
from ftsf_export.pipeline.preprocessing_gates import remade_verdict
from ftsf_export.pipeline.refresh import refresh_report
from ftsf_export.precision import precision_named
from ftsf_export.process.quota import Quota
from ftsf_export.progress import OnProgress, silent
from ftsf_export.verdict import Status, Subject, Verdict, failing


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """What was found."""

    bundle: Bundle  #: The bundle, with the verdicts recorded in it.
    verdicts: tuple[Verdict, ...]  #: One for each gate, those that were not run too.
    #: What the bundle had on record and was not judged anew here, as it was recorded.
    unjudged: tuple[Verdict, ...] = ()
    #: Why the verdicts could not be written into the bundle; "" when they were, or were not to be.
    unrecorded: str = ""
    stale: str = ""  #: Why the bundle's report stays as it was; "" where it shows the verdicts.
    warnings: tuple[str, ...] = ()  #: What others have met with engines like the bundle's.

    @property
    def failing(self) -> tuple[Verdict, ...]:
        """The verdicts that ran and are not green."""
        return failing(self.verdicts)

    @property
    def passed(self) -> bool:
        return not self.failing and any(verdict.passed for verdict in self.verdicts)

    @property
    def reason(self) -> str:
        """Why it did not pass, in one sentence; empty when it did."""
        if not self.failing and not self.passed:
            return "no gate was run; no evidence is a failure"
        return "; ".join(f"{verdict.gate} {verdict.status.value}: {verdict.reason}" for verdict in self.failing)


def verify(
    path: str | Path,
    *,
    runner: str = "auto",
    atol: float | None = None,
    rtol: float | None = None,
    record: bool = True,
    limited: bool = True,
    video: str | Path | None = None,
    on_progress: OnProgress = silent,
) -> VerifyResult:
    """Judges the bundle in ``path`` against its own reference values.

    ``runner``: ``auto`` judges the graph on ONNX Runtime and every engine that this machine can run; ``onnxruntime``
    the graph alone; ``tensorrt`` or ``rtx`` that builder's engines alone. ``atol`` and ``rtol`` as in
    ``Limits.for_precision``. ``record`` writes the verdicts into the bundle. ``limited``: the
    graph may take no more time and memory than a model of its size does, many times over (``graph_quota``); False is
    for a bundle that is trusted. ``video``: the reference video, where it is too large to travel in the bundle.

    Raises ConfigError for a wrong option, BundleError for a bundle that is damaged or altered, UsageError when it has
    no engine of the builder that was asked for, EnvironmentLacks when nothing here can run it, RunError when a runtime
    breaks. A gate that says no does not raise: see ``VerifyResult.passed`` and ``reason``.
    """
    _check_options(runner, atol, rtol)
    bundle = Bundle.open(path)
    golden = bundle.golden()
    # Reads every sidecar: one that does not read is refused before anything is recorded.
    warnings = _warnings(bundle)
    limits = Limits.for_precision(precision_named(bundle.manifest.precision), atol=atol, rtol=rtol)
    quota = _quota(bundle.manifest, golden) if limited else None
    verdicts = _verdicts(bundle, golden, limits, runner, quota, on_progress)
    verdicts += _preprocessing_verdicts(bundle, golden, verdicts, runner, video, limited, on_progress)
    unjudged = _not_judged_anew(bundle, verdicts)
    problem = stale = ""
    if record:
        bundle, problem = _recorded(bundle, verdicts)
        if not problem:
            bundle, stale = refresh_report(bundle)
    return VerifyResult(
        bundle=bundle,
        verdicts=tuple(verdicts),
        unjudged=unjudged,
        unrecorded=problem,
        stale=stale,
        warnings=warnings,
    )


def _verdicts(
    bundle: Bundle, golden: Golden, limits: Limits, runner: str, quota: Quota | None, on_progress: OnProgress
) -> list[Verdict]:
    """Labels, graph and engines, as ``runner`` asks."""
    labels = bundle.manifest.labels
    verdicts = [] if labels is None else [judge_labels(labels, golden, _subject(bundle, GOLDEN_NAME))]
    engines = _engine_verdicts(bundle, golden, limits, runner, on_progress)
    if runner in ("auto", "onnxruntime"):
        required = runner == "onnxruntime" or not any(verdict.status is not Status.NOT_RUN for verdict in engines)
        verdicts += _onnx_verdicts(bundle, golden, limits, quota, required=required, on_progress=on_progress)
    return [*verdicts, *engines]


def _preprocessing_verdicts(
    bundle: Bundle,
    golden: Golden,
    others: list[Verdict],
    runner: str,
    video: str | Path | None,
    limited: bool,
    on_progress: OnProgress,
) -> list[Verdict]:
    """The clip of the reference video, made again, with what ``others`` say of the graph that is given it."""
    if runner not in ("auto", "onnxruntime"):
        return []
    gate = parity_graph(precision_named(bundle.manifest.precision)).name
    graph = {one.gate: one.status for one in others if one.gate == gate and one.status is not Status.NOT_RUN}
    on_progress("make the clip of the reference video again", None)
    return [remade_verdict(bundle, golden, None if video is None else Path(video), graph, limited=limited)]


def _not_judged_anew(bundle: Bundle, verdicts: list[Verdict]) -> tuple[Verdict, ...]:
    """What is on record of the bundle's files on questions that ``verdicts`` leave open."""
    judged = {verdict.question for verdict in verdicts if verdict.status is not Status.NOT_RUN}
    return tuple(one for one in bundle.verdicts if one.question not in judged and one.status is not Status.NOT_RUN)


def _recorded(bundle: Bundle, verdicts: list[Verdict]) -> tuple[Bundle, str]:
    """The bundle with the verdicts in it; else as it was, and why: one on a read-only disk can be verified as well."""
    try:
        return bundle.with_verdicts(_worth_recording(bundle, verdicts)), ""
    except OutputError as error:
        return bundle, error.message


def _check_options(runner: str, atol: float | None, rtol: float | None) -> None:
    problems = [] if runner in RUNNERS else [f"runner: expected one of {', '.join(RUNNERS)}, got {runner!r}"]
    for name, value in (("atol", atol), ("rtol", rtol)):
        if value is not None and not 0 < value < float("inf"):
            problems.append(f"{name}: expected a number above 0, got {value!r}")
    if problems:
        raise ConfigError(problems)


def _quota(manifest: Manifest, golden: Golden) -> Quota:
    """Of each call with the reference clips. Raises UsageError where its clips alone do not fit here."""
    clips = clips_a_call(len(golden.clip), manifest.batch)
    require_room_for_calls(manifest, clips)
    return graph_quota(manifest, clips)


def _onnx_verdicts(
    bundle: Bundle, golden: Golden, limits: Limits, quota: Quota | None, *, required: bool, on_progress: OnProgress
) -> list[Verdict]:
    manifest = bundle.manifest
    precision, subject = precision_named(manifest.precision), _subject(bundle, ONNX_NAME)
    if lacking := lacking_modules("onnx", only=() if precision.emulated else RUNS_GRAPHS):
        if required:
            raise EnvironmentLacks(f"{' and '.join(lacking)}: not installed, needed to run {ONNX_NAME}", extra="onnx")
        reason = f"{' and '.join(lacking)}: not installed; install it with: {install_command('onnx')}"
        return [parity_graph(precision).not_run(subject, reason)]
    from ftsf_export.parity.weights import judge_weights

    on_progress("read the weights", None)
    taps = [tap.name for tap in manifest.graph.taps]
    with bundle.graph_copy() as path:
        weights = judge_weights(path, subject, exported=golden.weights)
        on_progress(f"run {ONNX_NAME} on ONNX Runtime", None)
        with graph_runner(path, precision, taps, quota=quota) as runner:
            outputs, _ = judge_golden(
                runner,
                golden,
                gate=parity_graph(precision),
                subject=subject,
                limits=limits,
                batch=manifest.batch,
                taps=taps,
            )
    return [weights, doubted_where_unproven(outputs, golden, taps, manifest.model.depth)]


def _engine_verdicts(
    bundle: Bundle, golden: Golden, limits: Limits, runner: str, on_progress: OnProgress
) -> list[Verdict]:
    if runner == "onnxruntime":
        return []
    engines = [engine for engine in bundle.engines if runner in ("auto", engine.builder)]
    if runner != "auto" and not engines:
        raise UsageError(
            f"{bundle.path}: the bundle has no engine of {runner}; build one with: ftsf build --builder {runner}"
        )
    return [
        judge_engine(
            bundle.engine_copy(engine),
            golden,
            engine,
            required=runner != "auto",
            profile=profile_of(bundle, engine),
            limits=limits,
            on_progress=on_progress,
        )
        for engine in engines
    ]


def _warnings(bundle: Bundle) -> tuple[str, ...]:
    found = [
        engine_warnings(
            bundle.manifest,
            builder=engine.builder,
            version=sidecar_of(bundle, engine).builder_version,
            capabilities=engine.compute_capabilities,
            most_clips=profile_of(bundle, engine).maximum,
        )
        for engine in bundle.engines
    ]
    return tuple(dict.fromkeys(warning for warnings in found for warning in warnings))


def _subject(bundle: Bundle, name: str) -> Subject:
    return Subject(name, bundle.manifest.files[name].sha256)


def _worth_recording(bundle: Bundle, verdicts: list[Verdict]) -> list[Verdict]:
    """All but those not run here that stand in the bundle already: a laptop must not undo what a GPU proved."""
    known = {verdict.question for verdict in bundle.verdicts if verdict.status is not Status.NOT_RUN}
    return [verdict for verdict in verdicts if verdict.status is not Status.NOT_RUN or verdict.question not in known]
