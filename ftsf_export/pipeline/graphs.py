"""From a model to ``model.onnx`` in a folder, with the reference values that it is held against and what was found.

Values live no longer than they are needed: the eager model is gone before the graph is judged, and the FP32 graph
before the half-precision one is.

Letters: n clips, F frames, C channels, H height, W width, S sampled values of one tap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftsf_export.bundle import (
    GOLDEN_NAME,
    ONNX_NAME,
    AppliedRewrite,
    GraphRecord,
    Normalisation,
    PluginNodes,
    TapSpec,
    sha256_of,
)
from ftsf_export.bundle.golden import Golden, sample_tap, write_golden
from ftsf_export.config import BatchRange, ExportConfig
from ftsf_export.network.gates import parity_graph
from ftsf_export.network.scope import LOGITS
from ftsf_export.parity.agreement import judge_agreement
from ftsf_export.parity.compare import outputs_of
from ftsf_export.parity.golden import judge_golden
from ftsf_export.parity.judge import Limits
from ftsf_export.parity.second_opinion import judge_second_opinion
from ftsf_export.parity.weights import weight_digests
from ftsf_export.pipeline.clips import JudgedClips
from ftsf_export.pipeline.graph_runner import graph_runner
from ftsf_export.pipeline.held_out import HeldOut
from ftsf_export.pipeline.opinion import Opinion, second_opinion
from ftsf_export.pipeline.resolve import ResolvedExport
from ftsf_export.pipeline.stages import Stages
from ftsf_export.precision import FP32, Precision, precision_named
from ftsf_export.verdict import Subject, Verdict

if TYPE_CHECKING:
    from fast_timesformer.config import TimeSformerConfig
    from fast_timesformer.model import FastTimeSformer
    from ftsf_export.graph.onnx_model import OnnxModel

# Judged, and deleted before the bundle is done: the bundle holds one graph, in the precision that was asked for.
_FP32_NAME = "model.fp32.onnx"
_OURS = "eager FastTimeSformer"


@dataclass(frozen=True, kw_only=True)
class GraphMade:
    """What is known of ``model.onnx``.

    Attributes:
        subject: the file that was written.
        record: what the graph is.
        model: the architecture that it was made from.
        golden: the reference values, as they are in ``golden.npz``.
        reference: whose logits the golden values hold.
        verdicts: parity of the FP32 graph that a half-precision one was converted from, and of ``model.onnx``.
    """

    subject: Subject
    record: GraphRecord
    model: TimeSformerConfig
    golden: Golden
    reference: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class _Reference:
    """Eager PyTorch's logits (n, classes), and its taps at their sampled positions, name -> (n, S).

    ``held_out``: its logits of the held-out clips, where there are any.
    """

    logits: Any
    taps: dict[str, Any]
    held_out: Any = None


def make_graph(
    resolved: ResolvedExport,
    model: FastTimeSformer | None,
    clips: JudgedClips,
    held_out: HeldOut | None = None,
    *,
    plugins: PluginNodes,
    folder: Path,
    stages: Stages,
) -> GraphMade:
    """Writes ``model.onnx`` and ``golden.npz`` into ``folder``.

    Raises UsageError for a checkpoint that does not fit, ExportError when a tracer or the checker refuses, RunError
    when a runtime does. A graph that departs from the model is a failed verdict, not an error.
    """
    from ftsf_export.graph.check import check, check_file
    from ftsf_export.graph.precision import to_precision

    config = resolved.config
    graph, eager, architecture = _traced(resolved, model, clips, held_out, stages)
    agreement = _Agreement(held_out, eager.held_out, config)
    with stages("count the products"):
        record = _with_work(resolved, architecture, plugins, graph)
    opinion = _second_opinion(resolved, model, clips, stages)
    reference = eager if opinion is None or opinion.logits is None else replace(eager, logits=opinion.logits)
    golden_of = _GoldenWriter(folder / GOLDEN_NAME, clips, reference)
    verdicts = []
    precision = precision_named(config.precision)
    if precision is not FP32:
        with stages("judge the FP32 graph"):
            check(graph)
            verdicts += _judge_fp32(graph, folder / _FP32_NAME, golden_of.in_memory(), config, agreement)
        with stages(f"convert to {config.precision}"):
            graph = to_precision(graph, config.precision)
    with stages("check and write the graph"):
        check(graph)
        graph.save(folder / ONNX_NAME)
        check_file(folder / ONNX_NAME)
        islands = graph.islands if precision is not FP32 else ()
        record = replace(record, islands=islands, nodes=graph.node_count, parameters=graph.parameter_count)
        del graph
        golden = golden_of.write(folder / ONNX_NAME)
    with stages("judge the graph"):
        subject = Subject(ONNX_NAME, sha256_of(folder / ONNX_NAME))
        verdicts = [_about_the_bundles_graph(verdict, subject) for verdict in verdicts]
        verdicts.append(_judge(folder / ONNX_NAME, golden, config, precision, record.taps))
        verdicts += agreement.verdicts(folder / ONNX_NAME, precision)
    if opinion is not None:
        verdicts.insert(0, judge_second_opinion(opinion.logits, eager.logits, subject, reason=opinion.reason))
    whom = opinion.whom if opinion is not None and opinion.whom else _OURS
    return GraphMade(
        subject=subject,
        record=record,
        model=architecture,
        golden=golden,
        reference=whom,
        verdicts=tuple(verdicts),
    )


def _second_opinion(
    resolved: ResolvedExport, model: FastTimeSformer | None, clips: JudgedClips, stages: Stages
) -> Opinion | None:
    """Hugging Face's own logits, where the weights are a checkpoint of theirs."""
    if model is not None or resolved.checkpoint is None or not resolved.checkpoint.from_huggingface:
        return None
    with stages("ask Hugging Face's own model"):
        return second_opinion(resolved.checkpoint, clips, resolved.normalisation)


def _about_the_bundles_graph(verdict: Verdict, graph: Subject) -> Verdict:
    """A verdict on the FP32 graph goes with the file that was converted from it, and says so.

    The bundle does not hold the FP32 graph, and what is true of the conversion's source is void once ``model.onnx``
    is another file.
    """
    origin = f"judged before the conversion, on the FP32 graph that {graph.file} was made from"
    reason = f"{verdict.reason}; {origin}" if verdict.reason else origin
    return replace(verdict, subject=graph, reason=reason)


def _traced(
    resolved: ResolvedExport,
    model: FastTimeSformer | None,
    clips: JudgedClips,
    held_out: HeldOut | None,
    stages: Stages,
) -> tuple[OnnxModel, _Reference, TimeSformerConfig]:
    """The FP32 graph and the reference; the eager model does not outlive this call."""
    with stages("load PyTorch and the model"):
        from ftsf_export.checkpoint.source import load_model
        from ftsf_export.graph.export import GraphOptions, export_onnx

        module = model if model is not None else load_model(resolved.config, resolved.checkpoint)
    with stages("trace"):
        options = GraphOptions(
            batch=resolved.config.batch,
            opset=resolved.opset,
            attention_operator=resolved.attention_operator,
            rewrites=frozenset(resolved.rewrites),
            plugins=frozenset(resolved.plugins),
            normalisation=resolved.normalisation,
        )
        graph = export_onnx(module, options)
    with stages("run eager PyTorch"):
        reference = _run_eager(module, graph.taps, clips, resolved.normalisation)
    if held_out is not None:
        with stages("run eager PyTorch on the held-out videos"):
            reference = replace(reference, held_out=_eager_logits(module, held_out, resolved.normalisation))
    return graph, reference, module.config


def _with_work(
    resolved: ResolvedExport, config: TimeSformerConfig, plugins: PluginNodes, graph: OnnxModel
) -> GraphRecord:
    """What ``graph`` is, with the products of one clip counted in eager PyTorch and in the graph."""
    from ftsf_export.graph.cost import measure_work

    work = measure_work(
        config,
        frozenset(resolved.rewrites),
        operator=resolved.attention_operator,
        plugins=frozenset(resolved.plugins),
    )
    return GraphRecord(
        opset=graph.opset,
        nodes=graph.node_count,
        parameters=graph.parameter_count,
        eager_flops=work.eager.flops,
        graph_flops=work.graph.flops,
        rewrites=tuple(AppliedRewrite(one.name, one.summary, one.saved.flops) for one in work.savings),
        plugins=plugins,
        taps=graph.taps,
    )


def _run_eager(
    module: FastTimeSformer, taps: tuple[TapSpec, ...], clips: JudgedClips, normalisation: Normalisation | None
) -> _Reference:
    """One clip at a time, sampled at once: a tap of one clip is megabytes, and there is one a module."""
    from ftsf_export.runners.eager import EagerRunner

    runner = EagerRunner(module, taps=taps, normalisation=normalisation)
    each = []
    for index in range(len(clips.values)):
        outputs = outputs_of(runner, clips.values[index : index + 1])
        each.append({name: value if name == LOGITS else sample_tap(value) for name, value in outputs.items()})
    stacked = {name: np.concatenate([outputs[name] for outputs in each]) for name in each[0]}
    return _Reference(stacked.pop(LOGITS), stacked)


def _eager_logits(module: FastTimeSformer, held_out: HeldOut, normalisation: Normalisation | None) -> Any:
    from ftsf_export.runners.eager import EagerRunner

    runner = EagerRunner(module, normalisation=normalisation)
    return held_out.logits_of(runner, batch=BatchRange(1, 8, 8))


@dataclass(frozen=True)
class _Agreement:
    """What a file's answers on the held-out clips are judged by; without such clips there is no verdict."""

    held_out: HeldOut | None
    reference: Any
    config: ExportConfig

    def verdicts(self, path: Path, precision: Precision) -> list[Verdict]:
        if self.held_out is None:
            return []
        with graph_runner(path, precision) as runner:
            logits = self.held_out.logits_of(runner, batch=self.config.batch)
        subject = Subject(path.name, sha256_of(path))
        return [judge_agreement(self.reference, logits, self.held_out.classes, precision=precision, subject=subject)]


@dataclass(frozen=True)
class _GoldenWriter:
    path: Path
    clips: JudgedClips
    reference: _Reference

    def in_memory(self) -> Golden:
        return Golden(self.clips.values, self.reference.logits, self.clips.sources, taps=self.reference.taps)

    def write(self, onnx_path: Path) -> Golden:
        """With the digest of every weight of the graph, so that ``verify`` can name one that was altered."""
        return write_golden(
            self.path,
            clip=self.clips.values,
            logits=self.reference.logits,
            sources=self.clips.sources,
            taps=self.reference.taps,
            weights=weight_digests(onnx_path),
        )


def _judge_fp32(
    graph: OnnxModel, path: Path, golden: Golden, config: ExportConfig, agreement: _Agreement
) -> list[Verdict]:
    written = graph.save(path)
    try:
        return [_judge(path, golden, config, FP32, graph.taps), *agreement.verdicts(path, FP32)]
    finally:
        for file in written:
            file.unlink()


def _judge(
    path: Path, golden: Golden, config: ExportConfig, precision: Precision, taps: tuple[TapSpec, ...]
) -> Verdict:
    # The user's limits are for what was asked for; the FP32 graph on the way is held to its own.
    own = precision.name == config.precision
    limits = Limits.for_precision(precision, atol=config.atol if own else None, rtol=config.rtol if own else None)
    names = [tap.name for tap in taps]
    with graph_runner(path, precision, names) as runner:
        return judge_golden(
            runner,
            golden,
            gate=parity_graph(precision),
            subject=Subject(path.name, sha256_of(path)),
            limits=limits,
            batch=config.batch,
            taps=names,
        )
