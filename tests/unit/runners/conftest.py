"""A small ONNX graph with taps: clip (B, 2, 3) -> flatten -> `blocks.0.mlp` -> `logits` (B, 4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Weights = dict[str, np.ndarray]


def weights() -> Weights:
    rng = np.random.default_rng(11)
    return {
        "blocks.0.mlp.weight": rng.normal(size=(6, 5)).astype(np.float32),
        "head.weight": rng.normal(size=(5, 4)).astype(np.float32),
    }


def write(path: Path, *, external: bool = False, output: str = "logits", half: bool = False) -> Path:
    """Writes the graph. ``half``: the tap is rounded to float16 and back by a pair of casts."""
    nodes = [
        helper.make_node("Flatten", ["clip"], ["flat"]),
        helper.make_node("MatMul", ["flat", "blocks.0.mlp.weight"], ["product" if half else "blocks.0.mlp"]),
        helper.make_node("MatMul", ["blocks.0.mlp", "head.weight"], [output]),
    ]
    if half:
        nodes[2:2] = [
            helper.make_node("Cast", ["product"], ["small"], to=TensorProto.FLOAT16),
            helper.make_node("Cast", ["small"], ["blocks.0.mlp"], to=TensorProto.FLOAT),
        ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, ["batch", 2, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(value, name) for name, value in weights().items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data", size_threshold=0)
    return path


@pytest.fixture
def graph(tmp_path: Path) -> Callable[..., Path]:
    """Writes the small graph: ``graph(name="model.onnx", external=False, output="logits", half=False)``."""

    def make(name: str = "model.onnx", **options: object) -> Path:
        return write(tmp_path / name, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def clips() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(3, 2, 3)).astype(np.float32)


@pytest.fixture
def expected(clips: np.ndarray) -> Weights:
    """What the graph computes, by NumPy in float64."""
    hidden = clips.reshape(3, 6).astype(np.float64) @ weights()["blocks.0.mlp.weight"]
    return {"logits": hidden @ weights()["head.weight"], "blocks.0.mlp": hidden}
