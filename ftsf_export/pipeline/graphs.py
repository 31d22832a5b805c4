"""From a model to ``model.onnx`` in a folder, with the reference values that it is held against and what was found.

Values live no longer than they are needed: the eager model is gone before the graph is judged, and the FP32 graph
before the half-precision one is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ftsf_export.bundle import (
    GOLDEN_NAME,
    ONNX_NAME,
    AppliedRewrite,
    CheckpointWeights,
    GraphRecord,
    PluginNodes,
    RandomWeights,
    sha256_of,
)
from ftsf_export.bundle.golden import Golden
from ftsf_export.network.scope import LOGITS
from ftsf_export.parity.judge import Pair
from ftsf_export.pipeline.calibration import CalibrationClips
from ftsf_export.pipeline.clips import JudgedClips
from ftsf_export.pipeline.graph_judge import GraphJudge
from ftsf_export.pipeline.held_out import HeldOut
from ftsf_export.pipeline.other_types import favor_lengths
from ftsf_export.pipeline.preprocessing_gates import processor_verdicts
from ftsf_export.pipeline.reference import Opinion, Reference, eager_logits, run_eager, second_opinion
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


@dataclass(frozen=True, kw_only=True)
class GraphMade:
    """What is known of ``model.onnx``."""

    subject: Subject  #: The file that was written.
    record: GraphRecord  #: What the graph is.
    model: TimeSformerConfig  #: The architecture that it was made from.
    golden: Golden  #: The reference values, as they are in ``golden.npz``.
    reference: str  #: Whose outputs the golden values hold.
    #: Parity of the FP32 graph that a half-precision one was converted from, and of ``model.onnx``.
    verdicts: tuple[Verdict, ...]
    #: Of reference and graph for the judged clips; None of a model without them, or where they could not be compared.
    logits: Pair | None


def make_graph(
    resolved: ResolvedExport,
    model: FastTimeSformer | None,
    clips: JudgedClips,
    held_out: HeldOut | None = None,
    *,
    plugins: PluginNodes,
    folder: Path,
    stages: Stages,
    calibration: CalibrationClips | None = None,
) -> GraphMade:
    """Writes ``model.onnx`` and ``golden.npz`` into ``folder``. ``calibration``: for a precision of 8 bits.

    Raises UsageError for a checkpoint that does not fit, ExportError when a tracer or the checker refuses, RunError
    when a runtime does. A graph that departs from the model is a failed verdict, not an error.
    """
    graph, eager, architecture = _traced(resolved, model, clips, held_out, stages)
    with stages("count the arithmetic"):
        record = replace(
            _record(resolved, architecture, plugins, graph), plain_half=eager.plain_half, favor=eager.favor
        )
    opinion = _second_opinion(resolved, model, clips, stages)
    reference = eager if opinion is None else opinion.as_reference(eager)
    judge = GraphJudge(resolved.config, clips, reference, held_out)
    precision = precision_named(resolved.config.precision)
    before = _fp32_verdicts(graph, precision, judge, folder, stages)
    with stages(f"convert to {precision.name}"):
        graph, record = _converted(graph, precision, record, architecture, calibration)
    with stages("check and write the graph"):
        path, record = _written(graph, precision, record, folder)
        del graph
        kept = judge.write_golden(folder / GOLDEN_NAME, path)
        reference_values = Subject(GOLDEN_NAME, sha256_of(folder / GOLDEN_NAME))
    with stages("compare the graph with PyTorch"):
        subject = Subject(ONNX_NAME, sha256_of(path))
        verdicts = [_about_the_bundles_graph(verdict, subject) for verdict in before]
        own, answer = judge.verdicts(path, precision, record.taps)
    with stages("compare the frames with the checkpoint's processor"):
        frames = () if model is not None else processor_verdicts(resolved, clips, reference_values)
    return GraphMade(
        subject=subject,
        record=record,
        model=architecture,
        golden=kept,
        reference=reference.whom,
        verdicts=(*([] if opinion is None else [opinion.verdict(eager, subject)]), *verdicts, *own, *frames),
        logits=answer if LOGITS in resolved.outputs else None,
    )


def _traced(
    resolved: ResolvedExport,
    model: FastTimeSformer | None,
    clips: JudgedClips,
    held_out: HeldOut | None,
    stages: Stages,
) -> tuple[OnnxModel, Reference, TimeSformerConfig]:
    """The FP32 graph and the reference; the eager model does not outlive this call."""
    with stages("load PyTorch and the model"):
        from ftsf_export.checkpoint.load import load_model
        from ftsf_export.graph.export import GraphOptions, export_onnx

        module = model if model is not None else load_model(resolved.config, resolved.checkpoint)
    with stages("trace the model"):
        options = GraphOptions(
            batch=resolved.config.batch,
            opset=resolved.opset,
            attention_operator=resolved.attention_operator,
            rewrites=frozenset(resolved.rewrites),
            plugins=frozenset(resolved.plugins),
            takes=resolved.takes,
            outputs=resolved.outputs,
        )
        graph = export_onnx(module, options)
    with stages("run eager PyTorch"):
        reference = run_eager(
            module,
            graph.taps,
            clips,
            resolved.takes,
            resolved.outputs,
            precision_named(resolved.config.precision),
            untrained=_untrained(resolved, model),
        )
        if not isinstance(resolved.weights, RandomWeights):
            reference = replace(reference, favor=favor_lengths(module, clips.values[1:2], resolved.takes))
    if held_out is not None:
        with stages("run eager PyTorch on the held-out videos"):
            reference = replace(reference, held_out=eager_logits(module, held_out, resolved.takes))
    return graph, reference, module.config


def _untrained(resolved: ResolvedExport, model: FastTimeSformer | None) -> str:
    """Why a checkpoint's class scores mean nothing yet; "" where they may mean something."""
    weights = resolved.weights
    if model is None and isinstance(weights, CheckpointWeights) and weights.need_fine_tuning_in(resolved.model):
        return "the attention was replaced and not trained on"
    return ""


def _record(resolved: ResolvedExport, config: TimeSformerConfig, plugins: PluginNodes, graph: OnnxModel) -> GraphRecord:
    """What ``graph`` is, with the products of one clip counted in eager PyTorch and in the graph."""
    from ftsf_export.graph.cost import measure_work

    work = measure_work(
        config,
        frozenset(resolved.rewrites),
        operator=resolved.attention_operator,
        plugins=frozenset(resolved.plugins),
        outputs=resolved.outputs,
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


def _second_opinion(
    resolved: ResolvedExport, model: FastTimeSformer | None, clips: JudgedClips, stages: Stages
) -> Opinion | None:
    """What another model says of the same weights, where they are a checkpoint's."""
    if model is not None or resolved.checkpoint is None:
        return None
    with stages("ask for a second opinion"):
        return second_opinion(resolved.checkpoint, clips, resolved.takes, resolved.outputs)


def _about_the_bundles_graph(verdict: Verdict, graph: Subject) -> Verdict:
    """A verdict on the FP32 graph goes with the file that was converted from it, and says so.

    The bundle does not hold the FP32 graph, and what is true of the conversion's source is void once ``model.onnx``
    is another file.
    """
    origin = f"judged before the conversion, on the FP32 graph that {graph.file} was made from"
    reason = f"{verdict.reason}; {origin}" if verdict.reason else origin
    return replace(verdict, subject=graph, reason=reason)


def _fp32_verdicts(
    graph: OnnxModel, precision: Precision, judge: GraphJudge, folder: Path, stages: Stages
) -> list[Verdict]:
    """What is found of the FP32 graph that one in another ``precision`` is converted from."""
    from ftsf_export.graph.check import check

    if precision is FP32:
        return []
    with stages("compare the FP32 graph with PyTorch"):
        check(graph)
        written = graph.save(folder / _FP32_NAME)
        try:
            verdicts, _ = judge.verdicts(folder / _FP32_NAME, FP32, graph.taps)
        finally:
            for file in written:
                file.unlink()
    return verdicts


def _converted(
    graph: OnnxModel,
    precision: Precision,
    record: GraphRecord,
    model: TimeSformerConfig,
    calibration: CalibrationClips | None,
) -> tuple[OnnxModel, GraphRecord]:
    """The graph in ``precision``, and its record."""
    from ftsf_export.graph.precision import to_precision

    if calibration is None:
        return to_precision(graph, precision.name), record
    from ftsf_export.pipeline.quantization import quantized

    graph, found = quantized(graph, model, calibration)
    return graph, replace(record, quantization=found)


def _written(graph: OnnxModel, precision: Precision, record: GraphRecord, folder: Path) -> tuple[Path, GraphRecord]:
    """The checked file, and its record with what the conversion changed."""
    from ftsf_export.graph.check import check, check_file

    path = folder / ONNX_NAME
    check(graph)
    graph.save(path)
    check_file(path)
    islands = () if precision is FP32 else graph.islands
    return path, replace(record, islands=islands, nodes=graph.node_count, parameters=graph.parameter_count)
