"""Graphs whose clips are uint8: what stands behind the input, and the model's own answers from ONNX Runtime.

Letters: B clips, F frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from ftsf_export.bundle import GraphInput, Normalisation
from ftsf_export.graph.check import check, check_file
from ftsf_export.graph.emulate import emulate
from ftsf_export.graph.precision import to_precision
from ftsf_export.graph.rewrite import ALL, pixel_normalisation
from ftsf_export.runners.eager import EagerRunner

HOW = Normalisation(mean=(114.75, 120.0, 98.0), std=(57.375, 58.0, 55.0))
# The limits of docs/gates.md.
LIMITS = {"fp32": 1e-5, "fp16": 1e-2, "bf16": 5e-2}
CASTS = {"fp32": ["FLOAT"], "fp16": ["FLOAT16"], "bf16": ["FLOAT", "BFLOAT16"]}
UNFOLDED = ALL - {pixel_normalisation.REWRITE.name}


def taken(layout: str = "BFHWC") -> GraphInput:
    return GraphInput(dtype="uint8", layout=layout, normalisation=HOW)


def levels(layout: str, count: int) -> np.ndarray:
    pixels = np.random.default_rng(3).integers(0, 256, (count, 3, 3, 32, 48), np.uint8)
    return np.ascontiguousarray(pixels.transpose([("BFCHW").index(letter) for letter in layout]))


def after_the_input(graph: ir.Graph) -> tuple[list[str], ir.Node]:
    """The types of the casts behind the input one after the other, and what follows them."""
    value, casts = graph.inputs[0], []
    while True:
        (user,) = {node for node, _ in value.uses()}
        if user.op_type != "Cast":
            return casts, user
        casts.append(ir.DataType(user.attributes["to"].as_int()).name)
        value = user.outputs[0]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("layout", ["BFHWC", "BCFHW"])
def test_the_answers_of_the_model(
    graph_of: Callable[..., Any],
    model_of: Callable[..., Any],
    ort: Callable[..., Any],
    distance: Callable[[Any, Any], float],
    tmp_path: Path,
    layout: str,
    precision: str,
) -> None:
    """With a range of batches. Pixels up to 255 are exact in either half type, and so is the cast."""
    graph = to_precision(graph_of(depth=1, batch="1:2:4", takes=taken(layout)), precision)
    check(graph)
    path, form = tmp_path / "m.onnx", tmp_path / "form.onnx"
    graph.save(path)
    check_file(path)
    casts, _ = after_the_input(graph.model.graph)
    assert graph.model.graph.inputs[0].dtype == ir.DataType.UINT8
    assert casts == CASTS[precision]
    clips = levels(layout, 3)
    taps = graph.taps[:1]
    with EagerRunner(model_of(depth=1), takes=taken(layout), taps=taps) as runner:
        expected = runner.infer({"clip": clips})
    emulate(path, form)
    got = ort(form, clips, taps, optimize=False)
    assert distance(got["logits"], expected["logits"]) <= LIMITS[precision]
    # The folded weights lose no more in half precision than the model's own on normalised clips: 0.9 times as much.
    # Without the grey level that is subtracted first it is 1.6 times.
    to_precision(graph_of(depth=1, batch="1:2:4"), precision).save(path)
    emulate(path, form)
    usual = ort(form, taken(layout).of_model(clips), taps, optimize=False)
    lost = distance(usual["patch_embed"], expected["patch_embed"])
    assert distance(got["patch_embed"], expected["patch_embed"]) <= 1.2 * lost + (1e-6 if precision == "fp32" else 0)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("rewrites", [ALL, UNFOLDED])
def test_the_cast_comes_first(graph_of: Callable[..., Any], rewrites: frozenset[str], precision: str) -> None:
    """TensorRT takes uint8 in a cast alone (NVIDIA/TensorRT#3985), and converts it to FP32 and FP16 alone."""
    casts, user = after_the_input(
        to_precision(graph_of(depth=1, takes=taken(), rewrites=rewrites), precision).model.graph
    )
    assert casts == CASTS[precision]
    assert user.op_type == "Sub"


def test_other_values_than_pixels_are_refused_by_the_runner(model_of: Callable[..., Any]) -> None:
    from ftsf_export.errors import RunError
    from ftsf_export.parity.compare import outputs_of

    with pytest.raises(RunError, match=r"input 'clip': expected uint8 of shape \(.*32, 48, 3\), got float32"):
        outputs_of(EagerRunner(model_of(depth=1), takes=taken()), levels("BFHWC", 1).astype(np.float32))
