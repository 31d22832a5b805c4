"""Half precision on a machine that has none: an FP32 graph that rounds every tensor to the type and back.

ONNX Runtime on a CPU loads FP16 graphs, but computes chains of arithmetic in FP32; neither rounding nor overflow is
real there, and BF16 graphs do not run at all. Here each half value is followed by a Cast to the type and a Cast back:
it rounds and overflows as it would, once a node. Fused GPU kernels round less often. To be run with all of ONNX
Runtime's optimizations off: they remove pairs of casts.

Needs onnx and onnx-ir; not torch.
"""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from ftsf_export.errors import RunError
from ftsf_export.graph.onnx_model import write_model
from ftsf_export.precision import FP32, HALVES, PRECISIONS

HALF = tuple(ir.DataType[PRECISIONS[name].onnx] for name in HALVES)
FLOAT = ir.DataType[FP32.onnx]
# What onnx-ir raises for a graph that is none; a missing attribute is a KeyError of ours.
_REFUSALS = (ir.serde.SerdeError, ir.passes.PassError, ir.passes.InvariantError, KeyError, ValueError, TypeError)


def emulate(source: Path, target: Path) -> None:
    """Write the emulation of the graph in ``source`` to ``target``; an FP32 graph comes out as it was.

    Every value keeps its name, so taps are found under their own. Raises RunError for a graph that onnx-ir refuses: a
    function that calls itself, a value made twice, a node without an attribute that it needs.
    """
    try:
        _emulate(source, target)
    except _REFUSALS as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(
            f"{source.name}: no sound ONNX graph, so it cannot be run ({said}); export again",
            details=traceback.format_exc(),
        ) from error


def _emulate(source: Path, target: Path) -> None:
    model = ir.load(source)
    # Constants beside the source are found from there alone; the emulation has its own, twice as wide.
    ir.external_data.load_to_model(model)
    # A function's values are rounded as all others.
    passes.InlinePass()(model)
    graph = model.graph
    kinds = {value: value.dtype for node in graph for value in node.outputs}
    for name in list(graph.initializers):
        value = graph.initializers[name]
        if value.dtype in HALF:
            assert value.const_value is not None
            value.const_value = ir.tensor(value.const_value.numpy().astype(np.float32), name=name)
            value.type = ir.TensorType(FLOAT)
    for node in list(graph):
        for value in node.outputs:
            kind = kinds[value]
            if kind in HALF:
                value.type = ir.TensorType(FLOAT)
                _round(graph, node, value, kind)
        if node.op_type == "Cast" and node.attributes["to"].as_int() in HALF:
            node.attributes["to"] = ir.AttrInt64("to", int(FLOAT))
    write_model(model, target)


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value, kind: ir.DataType) -> None:
    """Put the two casts behind ``value``; the rounded value takes its name and its users."""
    name = str(value.name)
    narrow = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(kind))], name=f"{name}/round")
    wide = ir.Node("", "Cast", [narrow.outputs[0]], [ir.AttrInt64("to", int(FLOAT))], name=f"{name}/back")
    value.name = f"{name}/exact"
    narrow.outputs[0].name = f"{name}/half"
    narrow.outputs[0].type, narrow.outputs[0].shape = ir.TensorType(kind), value.shape
    rounded = wide.outputs[0]
    rounded.name, rounded.type, rounded.shape = name, ir.TensorType(FLOAT), value.shape
    for user, slot in list(value.uses()):
        if user is not narrow:
            user.replace_input_with(slot, rounded)
    graph.insert_after(node, [narrow, wide])
    for index, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[index] = rounded
