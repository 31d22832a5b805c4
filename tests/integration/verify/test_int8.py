"""A bundle in int8: what is judged of it, and what is refused of one that says otherwise than its graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ftsf_export import Bundle, verify
from ftsf_export.bundle.specs import UNCALIBRATED
from ftsf_export.errors import BundleError, UsageError
from ftsf_export.pipeline.build_bundle import build
from ftsf_export.pipeline.plan_bundle import plan
from ftsf_export.verdict import Status
from tests.unit.manifests import rehash

MakeBundle = Callable[..., Path]


@pytest.fixture
def integers(bundle: MakeBundle) -> Path:
    return bundle("regular", "int8")


def test_a_bundle_in_int8(integers: Path) -> None:
    opened = Bundle.open(integers)
    assert {verdict.gate: verdict.status for verdict in opened.verdicts} == dict.fromkeys(
        ("parity.onnx-fp32", "parity.onnx-int8"), Status.PASSED
    )
    made = opened.manifest.graph.quantization
    assert made is not None
    assert (made.beside, made.products) == ("fp32", 21)
    assert made.calibration.doubt == UNCALIBRATED
    assert set(made.wide) >= {"patch_embed/MatMul", "head/MatMul", "blocks.*.temporal.attn.core/MatMul"}
    judged = verify(integers, record=False)
    assert judged.passed
    assert {verdict.gate for verdict in judged.verdicts} >= {"weights", "parity.onnx-int8"}
    for name in ("report.md", "report.html"):
        assert UNCALIBRATED in (integers / name).read_text(encoding="utf-8")


def test_no_engine_is_made_of_it(integers: Path) -> None:
    for make in (build, plan):
        with pytest.raises(UsageError, match="makes no engines in int8, only graphs that ONNX Runtime runs on a CPU"):
            make(integers)


@pytest.mark.parametrize("fault", ["scale", "weight"])
def test_a_fault_fails_the_gate(integers: Path, fault: str) -> None:
    graph = onnx.load(integers / "model.onnx")
    values = {one.name: one for one in graph.graph.initializer}
    if fault == "scale":
        # Behind the product of the hidden layer everything is twice as large.
        name = "blocks.0.mlp.fc2.weight:scale"
        values[name].CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(values[name]), name))
    else:
        one, other = (values[f"blocks.{block}.mlp.fc2.weight"] for block in (0, 1))
        kept = numpy_helper.to_array(one)
        one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(other), one.name))
        other.CopyFrom(numpy_helper.from_array(kept, other.name))
    onnx.save(graph, integers / "model.onnx")
    rehash(integers)
    found = {verdict.gate: verdict for verdict in verify(integers, record=False).verdicts}
    assert found["parity.onnx-int8"].status is Status.FAILED
    assert "blocks.0.mlp" in found["parity.onnx-int8"].reason
    assert found["weights"].status is Status.FAILED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["graph"]["quantization"]["wide"].append("blocks"), "multiplies .*INT8, the manifest says FLOAT"),
        (lambda m: m["graph"]["quantization"]["wide"].remove("head/MatMul"), "'head/MatMul' multiplies FLOAT"),
        (lambda m: m["graph"]["quantization"].update(products=20), "says 20 products in int8, the graph has 21"),
        (lambda m: m["graph"].update(quantization=None), "the manifest says int8, and nothing of quantization"),
        (
            lambda m: (m.update(precision="fp32"), m["asked"].update(precision="fp32")),
            "says fp32, and that it is quant",
        ),
    ],
)
def test_a_manifest_that_says_otherwise(integers: Path, change: Callable[[dict], object], said: str) -> None:
    path = integers / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["verdicts"] = []
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(BundleError, match=said):
        Bundle.open(integers)


def test_a_product_that_was_widened(integers: Path) -> None:
    """The integers of one weight as the same numbers in FP32: right to the last bit, and slower than it says."""
    graph = onnx.load(integers / "model.onnx")
    name = "blocks.0.mlp.fc2.weight"
    values = {one.name: one for one in graph.graph.initializer}
    wide = numpy_helper.to_array(values[name]).astype(np.float32) * numpy_helper.to_array(values[f"{name}:scale"])
    node = next(one for one in graph.graph.node if one.name == f"{name}/DequantizeLinear")
    values[name].CopyFrom(numpy_helper.from_array(wide, node.output[0]))
    graph.graph.node.remove(node)
    onnx.save(graph, integers / "model.onnx")
    rehash(integers)
    with pytest.raises(
        BundleError, match=r"'blocks.0.mlp.fc2/MatMul' multiplies FLOAT, the manifest says INT8 or UINT8"
    ):
        Bundle.open(integers)
