"""The value that the graph stage hands on: an ONNX model and what must be known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from ftsf_export.bundle import Island, TapSpec

# Protobuf ends at 2 GiB; weights above this go into a file beside the model.
EXTERNAL_DATA_BYTES = 1536 * 2**20

# The module that a node came from, on every node ("blocks.3.spatial.attn"). Survives in the saved file.
MODULE_KEY = "ftsf.module"


@dataclass(frozen=True, kw_only=True)
class OnnxModel:
    """A checked or yet unchecked ONNX model in memory."""

    model: ir.Model  #: The graph; input ``clip``, outputs ``logits`` and ``features`` in float32.
    precision: str  #: Of products and pointwise work outside the islands.
    opset: int  #: Of the standard domain.
    taps: tuple[TapSpec, ...]  #: The named values inside that parity compares, in network order.
    islands: tuple[Island, ...]  #: Where the graph stays FP32 and why; in an FP32 graph, where it would.
    rewrites: tuple[str, ...]  #: Names of the exact rewrites in it.

    @property
    def node_count(self) -> int:
        return len(self.model.graph)

    @property
    def parameter_count(self) -> int:
        """Floating-point constants, weights and tables, and weights of 8 bits."""
        return sum(value.const_value.size for value in self._floats() if value.const_value is not None)

    @property
    def weight_bytes(self) -> int:
        return sum(value.const_value.nbytes for value in self._floats() if value.const_value is not None)

    def save(self, path: Path) -> tuple[Path, ...]:
        """``write_model`` of the graph: the same model gives the same bytes."""
        return write_model(self.model, path)

    def _floats(self) -> list[ir.Value]:
        return [
            v
            for v in self.model.graph.initializers.values()
            if v.dtype is not None and (v.dtype.is_floating_point() or _is_weight_of_8_bits(v))
        ]


def _is_weight_of_8_bits(value: ir.Value) -> bool:
    """Whether it is one; the other integers of 8 bits are zero points."""
    return value.dtype == ir.DataType.INT8 and value.shape is not None and len(value.shape) > 1


def write_model(model: ir.Model, path: Path) -> tuple[Path, ...]:
    """Write the file, and constants above 1.5 GiB in all beside it as ``<name>.data``. Returns what was written."""
    constants = [value.const_value for value in model.graph.initializers.values()]
    if sum(tensor.nbytes for tensor in constants if tensor is not None) <= EXTERNAL_DATA_BYTES:
        ir.save(model, path)
        return (path,)
    data = path.with_name(path.name + ".data")
    ir.save(model, path, external_data=data.name)
    return (path, data)
