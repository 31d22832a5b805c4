"""Is the graph what we promise? Operators of ``network.operators`` or functions of such (plugins), no float64, and a
type and a shape for every value."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import onnx
import onnx_ir as ir

from ftsf_export.errors import ExportError
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.graph.plugin_ops import DOMAIN, PLUGIN_OPS
from ftsf_export.network.operators import operator_problem


def check(model: OnnxModel) -> None:
    """Our own promises, on the graph in memory. Raises ExportError with every node that breaks one."""
    functions = model.model.functions
    problems = [problem for node in model.model.graph for problem in _node_problems(node, functions)]
    given = (*model.model.graph.inputs, *model.model.graph.initializers.values())
    problems += [f"{value.name}: float64" for value in given if value.dtype == ir.DataType.DOUBLE]
    known = [f for f in functions.values() if f.domain == DOMAIN and f.name in PLUGIN_OPS]
    problems += [f"{f.name}: {problem}" for f in known for node in f for problem in _node_problems(node, shapes=False)]
    if strangers := [str(key) for key, function in functions.items() if function not in known]:
        problems.append(f"functions: {', '.join(strangers)}")
    if problems:
        raise ExportError(f"graph: {len(problems)} promises broken; first: {problems[0]}", details="\n".join(problems))


def check_file(path: Path) -> None:
    """ONNX's own full check with strict shape inference, on the file. Raises ExportError."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"{path.name}: onnx.checker refuses it: {str(error).splitlines()[0]}", details=str(error)
        ) from error


def _node_problems(
    node: ir.Node, functions: Container[ir.OperatorIdentifier] = (), *, shapes: bool = True
) -> list[str]:
    """``functions``: operators that the file explains. ``shapes``: whether each output has one; in a function, where
    they differ from call to call, none does."""
    problems = []
    if problem := operator_problem(node.domain, node.op_type):
        problems.append(f"{node.name}: {problem}")
    elif node.domain == DOMAIN and node.op_identifier() not in functions:
        problems.append(f"{node.name}: the operator {DOMAIN}.{node.op_type} has no function here")
    for value in node.outputs:
        if value.dtype == ir.DataType.DOUBLE:
            problems.append(f"{node.name}: float64")
        if value.dtype is None or (shapes and value.shape is None):
            problems.append(f"{node.name}: output without a type or a shape")
    return problems
