"""A graph of 8 bits and its record, from the FP32 graph and the calibration clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsf_export.bundle.specs import Quantization
from ftsf_export.mechanisms import mechanism_named
from ftsf_export.network.scope import Scope
from ftsf_export.pipeline.calibration import CalibrationClips
from ftsf_export.precision import FP32

if TYPE_CHECKING:
    from fast_timesformer.config import TimeSformerConfig
    from ftsf_export.graph.onnx_model import OnnxModel

# Operators that multiply two operands, as ``bundle`` reads them from a file.
_PRODUCTS = ("MatMul", "Gemm", "Conv", "Einsum", "Attention")


def quantized(
    graph: OnnxModel, model: TimeSformerConfig, calibration: CalibrationClips
) -> tuple[OnnxModel, Quantization]:
    """For ONNX Runtime on a CPU: integers, and FP32 beside. Raises as ``quantize``."""
    from ftsf_export.quantize.stage import QuantizeOptions, quantize

    options = QuantizeOptions(
        algebra=mechanism_named(model.attn_mechanism).algebra,
        heads=model.num_heads,
        for_cpu=True,
        method=calibration.record.method,
    )
    made = quantize(graph, calibration.calls, options)
    integers = set(made.products)
    others = (str(node.name) for node in made.graph.model.graph if node.op_type in _PRODUCTS)
    wide = dict.fromkeys(str(Scope(name).of_any_layer) for name in others if name not in integers)
    return made.graph, Quantization(
        beside=FP32.name,
        products=len(integers),
        wide=tuple(wide),
        evened=dict(made.evened),
        calibration=calibration.record,
    )
