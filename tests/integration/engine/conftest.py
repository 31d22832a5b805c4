"""Small graphs to compile, and a way to compile them. A build of one takes under a second with no GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftsf_export.config import BatchRange
from ftsf_export.engine.builder import Engine, build_engine
from ftsf_export.engine.request import BuildOptions, BuildRequest, GraphFacts
from ftsf_export.engine.targets import target_named

FRAMES, TOKENS, WIDTH, HEADS, CLASSES = 2, 32, 64, 2, 5

WriteGraph = Callable[..., Path]
Compile = Callable[..., Engine]


def write_attention_block(path: Path, precision: str = "fp16", *, dynamic: bool = False) -> Path:
    """``clip`` (B, F, 1, P, D) float32 -> ``logits`` (B, L) float32: attention, GELU and head in ``precision``."""
    import onnx
    from onnx import TensorProto, helper

    element = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision]
    draw = np.random.default_rng(0)
    nodes, constants = [], []

    def weight(name: str, *shape: int) -> str:
        values = draw.normal(size=shape) / 8
        constants.append(helper.make_tensor(name, element, shape, values.ravel().tolist()))
        return name

    def integers(name: str, values: list[int]) -> str:
        constants.append(helper.make_tensor(name, TensorProto.INT64, (len(values),), values))
        return name

    def add(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    tokens = FRAMES * TOKENS
    x = add("Reshape", ["clip", integers("to_tokens", [0, tokens, WIDTH])], "embed/tokens")
    x = add("Cast", [x], "embed/cast", to=element)
    y = add("LayerNormalization", [x, weight("gain", WIDTH), weight("bias", WIDTH)], "blocks.0/norm", axis=-1)
    heads = []
    for role in "qkv":
        z = add("MatMul", [y, weight(f"w_{role}", WIDTH, WIDTH)], f"blocks.0/attn/to_{role}")
        split = integers(f"split_{role}", [0, tokens, HEADS, WIDTH // HEADS])
        z = add("Reshape", [z, split], f"blocks.0/attn/split_{role}")
        heads.append(
            add("Transpose", [z], f"blocks.0/attn/heads_{role}", perm=[0, 2, 3, 1] if role == "k" else [0, 2, 1, 3])
        )
    scores = add("MatMul", heads[:2], "blocks.0/attn/scores")
    weights = add("Softmax", [scores], "blocks.0/attn/softmax", axis=-1)
    mixed = add("MatMul", [weights, heads[2]], "blocks.0/attn/mix")
    mixed = add("Transpose", [mixed], "blocks.0/attn/merge", perm=[0, 2, 1, 3])
    mixed = add("Reshape", [mixed, integers("join", [0, tokens, WIDTH])], "blocks.0/attn/join")
    x = add("Add", [x, add("MatMul", [mixed, weight("w_out", WIDTH, WIDTH)], "blocks.0/attn/to_out")], "blocks.0/add")
    x = add("Gelu", [add("MatMul", [x, weight("w_fc", WIDTH, WIDTH)], "blocks.0/mlp/fc1")], "blocks.0/mlp/gelu")
    x = add("ReduceMean", [x, integers("axis", [1])], "head/mean", keepdims=0)
    x = add("MatMul", [x, weight("w_head", WIDTH, CLASSES)], "head/linear")
    add("Cast", [x], "logits", to=TensorProto.FLOAT)
    batch = "batch" if dynamic else 1
    graph = helper.make_graph(
        nodes,
        "block",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, [batch, FRAMES, 1, TOKENS, WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    # As in an export every value has its type.
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> WriteGraph:
    """The path of a graph by precision and batch, written once."""
    folder = tmp_path_factory.mktemp("graphs")

    def graph(precision: str = "fp16", *, dynamic: bool = False) -> Path:
        path = folder / f"{precision}-{'dynamic' if dynamic else 'static'}.onnx"
        return path if path.exists() else write_attention_block(path, precision, dynamic=dynamic)

    return graph


@pytest.fixture(scope="session")
def order() -> Callable[..., BuildRequest]:
    def request(onnx_path: Path, output: Path, precision: str = "fp16", **changes: Any) -> BuildRequest:
        about: dict[type, dict[str, Any]] = {
            GraphFacts: {
                "onnx_path": onnx_path,
                "precision": precision,
                "batch": BatchRange(1, 1, 1),
                "input_name": "clip",
                "clip_shape": (FRAMES, 1, TOKENS, WIDTH),
            },
            BuildOptions: {},
            BuildRequest: {"builder": "rtx", "target": target_named("rtx-30"), "output": output},
        }
        for name, value in changes.items():
            (owner,) = (one for one in about if name in {field.name for field in fields(one)})
            about[owner][name] = value
        graph, options = GraphFacts(**about[GraphFacts]), BuildOptions(**about[BuildOptions])
        return BuildRequest(graph=graph, options=options, **about[BuildRequest])

    return request


@pytest.fixture(scope="session")
def engines(
    graphs: WriteGraph, order: Callable[..., BuildRequest], tmp_path_factory: pytest.TempPathFactory
) -> Compile:
    """A compiled engine by precision, batch and target; each is built once."""
    pytest.importorskip("tensorrt_rtx")
    folder = tmp_path_factory.mktemp("engines")
    built: dict[str, Engine] = {}

    def engine(precision: str = "fp16", *, dynamic: bool = False, target: str = "rtx-30") -> Engine:
        key = f"{target}-{precision}-{dynamic}"
        if key not in built:
            batch = BatchRange(1, 2, 4) if dynamic else BatchRange(1, 1, 1)
            onnx_path = graphs(precision, dynamic=dynamic)
            request = order(onnx_path, folder / f"{key}.engine", precision, batch=batch, target=target_named(target))
            built[key] = build_engine(request)
        return built[key]

    return engine
