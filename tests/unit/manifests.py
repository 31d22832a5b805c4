"""A small manifest, for tests of whatever reads one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import (
    AppliedRewrite,
    GraphRecord,
    Manifest,
    PluginNodes,
    Preprocessing,
    RandomWeights,
    TensorSpec,
)
from ftsf_export.bundle.contents import opened_bundle
from ftsf_export.bundle.contents import read_manifest as manifest_in
from ftsf_export.bundle.files import entry_of
from ftsf_export.bundle.manifest import MANIFEST_NAME
from ftsf_export.config import BatchRange, ExportConfig, Size

GRAPH = GraphRecord(
    opset=20,
    nodes=1243,
    parameters=66_123_456,
    eager_flops=2_000_000_000,
    graph_flops=1_900_000_000,
    rewrites=(AppliedRewrite("temporal-fc", "one matrix for two linear maps", 100_000_000),),
    plugins=PluginNodes(reason="none asked for"),
)


def small_manifest(
    *, frames: int = 8, side: int = 224, classes: int = 400, dim: int = 512, depth: int = 12, **changes: Any
) -> Manifest:
    """Of fastformer with random weights; fields of the manifest, and of its ``graph``, may be given otherwise."""
    graph = {name: changes.pop(name) for name in ("islands", "taps") if name in changes}
    if "verdicts" in changes:
        recorded = (replace(one, recorded_by=one.recorded_by or "export") for one in changes["verdicts"])
        changes["verdicts"] = tuple(recorded)
    model = changes.get("model", TimeSformerConfig(frames, 3, side, side, classes, dim=dim, depth=depth))
    clip = (model.frames, model.channels, model.height, model.width)
    size: int | str = "batch" if not changes.get("batch", BatchRange(1, 2, 4)).static else 1
    fields = {
        "created_by": "ftsf-export 0.1.0",
        "asked": ExportConfig(frames=frames, size=Size(side, side), dim=dim, depth=depth, num_classes=classes),
        "model": model,
        "weights": RandomWeights(0),
        "reference": "eager FastTimeSformer",
        "inputs": (TensorSpec("clip", (size, *clip), "float32", "BFCHW", "RGB, normalised"),),
        "outputs": (TensorSpec("logits", (size, model.num_classes), "float32", "BL", "unnormalised class scores"),),
        "preprocessing": replace(Preprocessing.of_timesformer(model), stride=16),
        "labels": None,
        "precision": "fp16",
        "batch": BatchRange(1, 2, 4),
        "graph": replace(GRAPH, **graph),
        "tools": {"torch": "2.13.0", "numpy": "2.3.0"},
    }
    return Manifest(**{**fields, **changes})


def graph_bytes(note: str = "model bytes", precision: str = "fp16", **changes: Any) -> bytes:
    """An ONNX file with one product in ``precision``, of clips of two frames of 32 pixels and five classes.

    ``note`` tells one from another, ``changes`` are of the graph.
    """
    element = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision]
    weights = [
        helper.make_tensor("weight", element, (32, 5), [1.0] * 160),
        helper.make_tensor("axes", 7, (3,), [1, 2, 3]),
    ]
    graph: dict[str, Any] = {
        "nodes": [
            helper.make_node("Cast", ["clip"], ["pixels"], to=element),
            helper.make_node("MatMul", ["pixels", "weight"], ["scores"], name="head/MatMul"),
            helper.make_node("Cast", ["scores"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["wide", "axes"], ["logits"], keepdims=0),
        ],
        "inputs": [helper.make_tensor_value_info("clip", TensorProto.FLOAT, ("batch", 2, 3, 32, 32))],
        "outputs": [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 5))],
        "initializer": weights,
    }
    model = helper.make_model(helper.make_graph(name="g", **{**graph, **changes}), doc_string=note)
    return bytes(model.SerializeToString())


def note_of(path: Path) -> str:
    """What ``graph_bytes`` noted in the file."""
    return str(onnx.load(path, load_external_data=False).doc_string)


def read_manifest(root: Path) -> Manifest:
    """The manifest of the bundle in ``root``; its files are not looked at."""
    with opened_bundle(root) as folder:
        return manifest_in(folder)


def rehash(root: Path) -> None:
    """Makes the manifest agree with files that were altered, as one who hides the alteration would."""
    manifest = read_manifest(root)
    files = {name: entry_of(root / name) for name in manifest.files}
    engines = tuple(replace(engine, sha256=files[engine.file].sha256) for engine in manifest.engines)
    (root / MANIFEST_NAME).write_bytes(replace(manifest, files=files, engines=engines).to_bytes())
