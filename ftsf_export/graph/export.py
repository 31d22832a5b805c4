"""FastTimeSformer -> ONNX: form, trace, repeat, name. The graph is FP32; ``precision`` makes it narrower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common as passes

from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import GraphInput, Island
from ftsf_export.bundle.graph_input import USUAL_INPUT
from ftsf_export.config import OPSET_ATTENTION, OPSET_DECOMPOSED, BatchRange
from ftsf_export.graph.forms.island import islands_of
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.node_names import name_all
from ftsf_export.graph.node_scopes import keep_scopes_only, scope_of
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.graph.plugin_functions import functions_of
from ftsf_export.graph.plugin_ops import DOMAIN, DOMAIN_VERSION
from ftsf_export.graph.rewrite import ALL, Rewrites
from ftsf_export.graph.trace import trace
from ftsf_export.graph.unroll import constant_names, unroll
from ftsf_export.network.scope import ALONGS
from ftsf_export.precision import FP32

PRODUCER = "ftsf-export"
ONE_CLIP = BatchRange(1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """How the graph is made.

    Raises ValueError for a rewrite that does not exist, and for an opset without the operator that is asked for.
    """

    batch: BatchRange = ONE_CLIP  #: Clips in one call; a range makes dimension 0 dynamic.
    opset: int = OPSET_DECOMPOSED  #: Of the standard domain.
    #: Softmax attention as one ``Attention`` node (opset 23 or later, half precision only: TensorRT has no FP32 kernel
    #: for it).
    attention_operator: bool = False
    rewrites: Rewrites = ALL  #: Names of the exact rewrites to apply.
    #: Which attentions are one node of the domain ``ftsf``: along "time", "space" or both.
    plugins: frozenset[str] = frozenset()
    takes: GraphInput = USUAL_INPUT  #: The form of its clips.
    outputs: tuple[str, ...] | None = None  #: Some of ``OUTPUTS``; None: logits, or features of a model without a head.

    def __post_init__(self) -> None:
        if unknown := self.rewrites - ALL:
            raise ValueError(f"rewrites: expected names of {', '.join(sorted(ALL))}; got {', '.join(sorted(unknown))}")
        if self.attention_operator and self.opset < OPSET_ATTENTION:
            raise ValueError(f"opset: the Attention operator needs {OPSET_ATTENTION} or later, got {self.opset}")
        if unknown := self.plugins - set(ALONGS):
            raise ValueError(f"plugins: expected some of {', '.join(ALONGS)}; got {', '.join(sorted(unknown))}")


def export_onnx(model: FastTimeSformer, options: GraphOptions) -> OnnxModel:
    """The FP32 graph of ``model``: input ``clip``, outputs ``logits`` (B, classes) and ``features`` (B, D), float32,
    each as ``options`` asks for it.

    Raises ExportError when the tracer or the converter refuses.
    """
    form = ExportForm(
        model,
        options.rewrites,
        operator=options.attention_operator,
        one_clip=options.batch == ONE_CLIP,
        plugins=options.plugins,
        takes=options.takes,
        outputs=options.outputs,
    )
    traced = trace(form, options.takes.shape(None, model.config)[1:], options.batch, options.opset)
    graph = traced.graph
    keep_scopes_only(graph)
    unroll(graph, form)
    taps = form.taps()
    name_all(graph, [tap.name for tap in taps], constant_names(form))
    _plain_reshapes(graph)
    passes.RemoveUnusedNodesPass()(traced)
    passes.TopologicalSortPass()(traced)
    functions = functions_of(form, options.opset)
    return OnnxModel(
        model=_bare(graph, options.opset, functions),
        precision=FP32.name,
        opset=options.opset,
        taps=taps,
        islands=_islands(graph, form, functions),
        rewrites=tuple(sorted(options.rewrites)),
    )


def _islands(graph: ir.Graph, form: ExportForm, functions: Sequence[ir.Function]) -> tuple[Island, ...]:
    """One entry for the same module of all blocks: ``blocks.*.spatial.attn.core``."""
    reasons = {scope.of_any_layer: reason for scope, reason in islands_of(form).items()}
    modules = [scope_of(node) for node in graph]
    bodies = {function.name: [scope_of(node) for node in function] for function in functions}
    modules += [scope_of(node) / inner for node in graph for inner in bodies.get(node.op_type, ())]
    return tuple(Island(scope, reason, sum(map(scope.holds, modules))) for scope, reason in reasons.items())


def _plain_reshapes(graph: ir.Graph) -> None:
    """``allowzero`` says what a 0 in a shape means; there is none, and older parsers do not know the attribute."""
    for node in graph:
        if node.op_type == "Reshape":
            node.attributes.pop("allowzero", None)


def _bare(graph: ir.Graph, opset: int, functions: Sequence[ir.Function]) -> ir.Model:
    """A model with nothing in it but the graph: what the exporter notes elsewhere may name the machine."""
    graph.metadata_props.clear()
    graph.name = "ftsf"
    graph.doc_string = None
    graph.opset_imports.clear()
    graph.opset_imports[""] = opset
    if functions:
        graph.opset_imports[DOMAIN] = DOMAIN_VERSION
    for value in (*graph.inputs, *graph.outputs, *(v for node in graph for v in node.outputs)):
        value.metadata_props.clear()
        value.doc_string = None
    for value in graph.initializers.values():
        value.metadata_props.clear()
        value.doc_string = None
    # IR 10 is the newest that every reader we name knows (TensorRT 10.3), and the oldest that knows opset 21 types.
    return ir.Model(graph, ir_version=10, producer_name=PRODUCER, functions=functions)
