"""Real builds with TensorRT for RTX, no GPU: what comes out, what is refused, and what is left behind."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ftsf_export.config import BatchRange
from ftsf_export.engine.builder import Engine, build_engine
from ftsf_export.engine.request import BuildRequest
from ftsf_export.engine.targets import target_named
from ftsf_export.engine.types import judge_types
from ftsf_export.errors import BuildError, UsageError
from ftsf_export.network.gates import engine_types
from ftsf_export.verdict import Status, Subject, Verdict

pytest.importorskip("tensorrt_rtx")

Compile = Callable[..., Engine]
Order = Callable[..., BuildRequest]
WriteGraph = Callable[..., Path]

PRODUCTS = {
    *(f"blocks.0/attn/{name}" for name in ("to_q", "to_k", "to_v", "scores", "mix", "to_out")),
    "blocks.0/mlp/fc1",
    "head/linear",
}


def judge(engine: Engine, precision: str) -> Verdict:
    return judge_types(
        engine.plan,
        precision,
        gate=engine_types("rtx", "rtx-30"),
        subject=Subject(engine.request.output.name, engine.sha256),
        products=engine.products,
        tf32=engine.tf32,
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_an_engine_runs_in_the_precision_of_its_graph(engines: Compile, precision: str) -> None:
    engine = engines(precision)
    assert judge(engine, precision).passed
    assert {product.node for product in engine.products} == PRODUCTS
    assert {kind for product in engine.products for kind in product.types} == {precision}
    assert engine.plan.unread == ()
    assert engine.plan.fused_attentions == (0 if precision == "fp32" else 1)
    assert engine.tf32 is False
    data = engine.request.output.read_bytes()
    assert engine.size_bytes == len(data)
    assert engine.sha256 == hashlib.sha256(data).hexdigest()
    assert not list(engine.request.output.parent.glob(".build-*"))


def test_an_fp32_graph_asked_as_fp16_fails_the_gate_and_the_other_way_round(engines: Compile) -> None:
    for made, asked in (("fp32", "fp16"), ("fp16", "fp32")):
        verdict = judge(engines(made), asked)
        assert verdict.status is Status.FAILED
        assert "blocks.0/attn/to_q" in verdict.reason


def test_a_dynamic_batch_is_judged_as_well(engines: Compile) -> None:
    engine = engines("fp16", dynamic=True)
    assert engine.request.profile() == ((1, 2, 1, 32, 64), (2, 2, 1, 32, 64), (4, 2, 1, 32, 64))
    assert judge(engine, "fp16").passed
    assert judge(engine, "fp32").status is Status.FAILED
    assert engine.plan.moved_bytes is None


def test_one_engine_for_every_rtx_generation(engines: Compile) -> None:
    engine = engines("fp16", target="rtx")
    assert engine.request.target.capabilities == ("8.6", "8.9", "12.0")
    assert judge(engine, "fp16").passed


def test_the_sidecar_holds_no_time_and_no_path(engines: Compile) -> None:
    engine = engines("fp16")
    sidecar = json.loads(engine.sidecar_bytes())
    assert sidecar["sha256"] == engine.sha256
    assert sidecar["compute_capabilities"] == ["8.6"]
    assert sidecar["product_operand_types"] == engine.plan.operand_types()
    assert str(engine.request.output.parent) not in engine.sidecar_bytes().decode()
    assert not [key for key in sidecar if "second" in key or "time" in key]


def test_tf32_is_off_unless_asked(graphs: WriteGraph, order: Order, tmp_path: Path) -> None:
    engine = build_engine(order(graphs("fp32"), tmp_path / "e.engine", "fp32", tf32=True))
    assert engine.tf32 is True
    assert "TF32" in judge(engine, "fp32").reason


def test_progress_is_told_by_phase(graphs: WriteGraph, order: Order, tmp_path: Path) -> None:
    told: list[tuple[str, float | None]] = []
    build_engine(order(graphs(), tmp_path / "e.engine"), on_progress=lambda *step: told.append(step))
    assert told[0] == ("engine rtx rtx-30: Building engine", 0.0)
    assert told[-1] == ("engine rtx rtx-30: Building engine", 1.0)
    assert all(fraction is not None and 0.0 <= fraction <= 1.0 for _, fraction in told)


def test_the_log_is_kept_where_asked_and_the_terminal_stays_clean(
    graphs: WriteGraph, order: Order, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    build_engine(order(graphs(), tmp_path / "e.engine", log_folder=tmp_path))
    assert "LayerType: gemm" in (tmp_path / "e.log").read_text(encoding="utf-8")
    assert capfd.readouterr() == ("", "")


def test_a_timing_cache_is_written_and_read(graphs: WriteGraph, order: Order, tmp_path: Path) -> None:
    cache = tmp_path / "timing.cache"
    for _ in range(2):
        build_engine(order(graphs(), tmp_path / "e.engine", timing_cache=cache))
        assert cache.stat().st_size > 0


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", UsageError, "no graph with inputs and outputs"),
        (b"hello\n", UsageError, "no graph with inputs and outputs"),
        (None, BuildError, "refused broken.onnx: .*Failed to parse the ONNX model"),
    ],
)
def test_a_file_that_is_no_graph(
    graphs: WriteGraph, order: Order, tmp_path: Path, content: bytes | None, error: type[Exception], says: str
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(graphs().read_bytes()[:3000] if content is None else content)
    with pytest.raises(error, match=says):
        build_engine(order(broken, tmp_path / "e.engine"))
    assert [path.name for path in tmp_path.iterdir()] == ["broken.onnx"]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"batch": BatchRange(1, 2, 4)}, UsageError, "the graph's batch is fixed: export it again with --batch"),
        ({"input_name": "video"}, UsageError, "expected 'video', the graph has clip"),
        (
            {"clip_shape": (2, 1, 32, 63)},
            UsageError,
            r"expected \[1, 2, 1, 32, 63\], the graph has \[1, 2, 1, 32, 64\]",
        ),
        ({"workspace_mib": 1}, BuildError, "the workspace limit is too small"),
        ({"timeout_s": 0.05}, BuildError, "not done after 0.05 s and was killed"),
    ],
)
def test_a_request_that_does_not_fit(
    graphs: WriteGraph, order: Order, tmp_path: Path, changes: dict, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        build_engine(order(graphs(), tmp_path / "e.engine", **changes))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_operator_is_named(order: Order, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 1, 32, 64]) for name in ("clip", "logits")]
    node = helper.make_node("Unheard", ["clip"], ["logits"], name="odd/node", domain="own")
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    save(
        helper.make_model(helper.make_graph([node], "g", *([end] for end in ends)), opset_imports=opsets),
        tmp_path / "u.onnx",
    )
    with pytest.raises(BuildError, match=r"refused u\.onnx: .*Unheard.*Plugin not found"):
        build_engine(order(tmp_path / "u.onnx", tmp_path / "e.engine"))


def write_one_query(path: Path) -> Path:
    """``clip`` (1, 65, 128) -> ``logits`` (1, 2, 1, 64): an Attention node whose only query is the first token."""
    from onnx import TensorProto, helper, save

    nodes = [helper.make_node("Cast", ["clip"], ["x"], name="x", to=TensorProto.FLOAT16)]
    constants = [helper.make_tensor(name, TensorProto.INT64, (1,), [value]) for name, value in (("a", 0), ("b", 1))]
    nodes.append(helper.make_node("Slice", ["x", "a", "b", "b"], ["first"], name="first"))
    weight = (np.random.default_rng(0).normal(size=(128, 128)) / 8).ravel().tolist()
    for role, source, tokens in (("q", "first", 1), ("k", "x", 65), ("v", "x", 65)):
        constants.append(helper.make_tensor(f"w_{role}", TensorProto.FLOAT16, (128, 128), weight))
        constants.append(helper.make_tensor(f"s_{role}", TensorProto.INT64, (4,), [1, tokens, 2, 64]))
        nodes.append(helper.make_node("MatMul", [source, f"w_{role}"], [f"to_{role}"], name=f"to_{role}"))
        nodes.append(helper.make_node("Reshape", [f"to_{role}", f"s_{role}"], [f"split_{role}"], name=f"split_{role}"))
        nodes.append(helper.make_node("Transpose", [f"split_{role}"], [role], name=role, perm=[0, 2, 1, 3]))
    nodes.append(helper.make_node("Attention", ["q", "k", "v"], ["mixed"], name="attention"))
    nodes.append(helper.make_node("Cast", ["mixed"], ["logits"], name="logits", to=TensorProto.FLOAT))
    ends = [("clip", [1, 65, 128]), ("logits", [1, 2, 1, 64])]
    infos = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in ends]
    graph = helper.make_graph(nodes, "g", *infos, constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), path)
    return path


def test_a_compiler_that_refuses_is_a_build_error_and_poisons_nothing(
    graphs: WriteGraph, order: Order, tmp_path: Path
) -> None:
    import tensorrt_rtx

    if not tensorrt_rtx.__version__.startswith("1.7.1"):
        pytest.skip("the fault that this graph meets is one of version 1.7.1")
    one_query = order(write_one_query(tmp_path / "one.onnx"), tmp_path / "e.engine", clip_shape=(65, 128))
    with pytest.raises(BuildError, match=r"refused one\.onnx: .*CHECK\(def_tactic_desc\)") as caught:
        build_engine(one_query)
    assert "[VERBOSE]" in caught.value.details
    assert not (tmp_path / "e.engine").exists()
    assert judge(build_engine(order(graphs(), tmp_path / "e.engine")), "fp16").passed


def test_attentions_may_decompose(tmp_path: Path) -> None:
    import tensorrt_rtx as trt

    from ftsf_export.engine.worker import _let_attentions_decompose

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse_from_file(str(write_one_query(tmp_path / "one.onnx")))
    _let_attentions_decompose(trt, network)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    (attention,) = [layer for layer in layers if layer.type.name == "ATTENTION_INPUT"]
    attention.__class__ = trt.IAttentionInputLayer
    assert attention.attention.decomposable


@pytest.fixture
def tensorrt_proper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """TensorRT for RTX stands in for TensorRT 11. What its inspector says is to be written to the file that is given;
    with a context whose batch is 4, to that of the same name with ``-4``."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "unit" / "engine" / "stand_in")
    monkeypatch.setenv("STAND_IN_LAYERS", str(tmp_path / "layers.json"))
    return tmp_path / "layers.json"


def inspected_layers(**tensor: object) -> str:
    """The layers of ``write_attention_block`` with one product, whose operands are told as ``tensor``."""
    layer = {
        "Name": "fc",
        "LayerType": "gemm",
        "Inputs": [{"Name": "x", **tensor}, {"Name": "w", **tensor}],
        "Outputs": [{"Name": "y", **tensor}],
        "TacticName": "sm80_xmma_gemm_f16f16_f16f32_f32_tn_n",
        "Metadata": "[ONNX Layer: blocks.0/mlp/fc1]",
    }
    return json.dumps({"Layers": [layer]})


HALF = {"Dimensions": [64, 64], "Format/Datatype": "Half"}
UNKNOWN = {"Dimensions": [-1, 64], "Format/Datatype": "N/A due to dynamic shapes"}
SEVERAL = BatchRange(1, 2, 4)


@pytest.fixture
def build_proper(graphs: WriteGraph, order: Order, tmp_path: Path) -> Compile:
    def build(batch: BatchRange = SEVERAL) -> Engine:
        graph = graphs(dynamic=not batch.static)
        about = {"builder": "tensorrt", "target": target_named("a10"), "batch": batch}
        return build_engine(order(graph, tmp_path / "e.engine", **about))

    return build


def test_tensorrt_proper_takes_the_same_path(tensorrt_proper: Path, build_proper: Compile) -> None:
    """Strong typing, TF32 off, profile, inspector's layers."""
    tensorrt_proper.write_text(inspected_layers(**HALF), encoding="utf-8")
    engine = build_proper(BatchRange(1, 1, 1))
    assert engine.builder_version == "11.4.1"
    assert engine.tf32 is False
    assert [kernel.name for kernel in engine.plan.kernels] == ["fc"]
    assert engine.plan.memory.weights_bytes
    assert engine.plans_at_batch == {}
    assert judge(engine, "fp16").passed


def test_an_execution_context_tells_what_dynamic_shapes_hide(tensorrt_proper: Path, build_proper: Compile) -> None:
    tensorrt_proper.write_text(inspected_layers(**UNKNOWN), encoding="utf-8")
    for batch in SEVERAL.sizes:
        half = {**HALF, "Dimensions": [batch, 64]}
        tensorrt_proper.with_stem(f"layers-{batch}").write_text(inspected_layers(**half), encoding="utf-8")
    engine = build_proper()
    assert judge(engine, "fp16").passed
    assert engine.plan.moved_bytes == 3 * 2 * 64 * 2
    assert {batch: plan.moved_bytes for batch, plan in engine.plans_at_batch.items()} == {
        batch: 3 * batch * 64 * 2 for batch in SEVERAL.sizes
    }


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        (inspected_layers(**UNKNOWN), r"1 products do not tell .*: its context takes no input of shape \[2, "),
        ("", "the plan 0: the inspector's layers cannot be read: no JSON"),
        ("abort", r"the plan 0: TensorRT's inspector died \(SIGABRT\)"),
    ],
)
def test_an_engine_of_which_nothing_is_told_is_kept(
    tensorrt_proper: Path, build_proper: Compile, monkeypatch: pytest.MonkeyPatch, layers: str, says: str
) -> None:
    tensorrt_proper.write_text(layers, encoding="utf-8")
    if layers == "abort":
        monkeypatch.setenv("STAND_IN_LAYERS", "abort")
    engine = build_proper()
    assert engine.sha256 == hashlib.sha256(engine.request.output.read_bytes()).hexdigest()
    assert engine.plans_at_batch == {}
    verdict = judge(engine, "fp16")
    assert verdict.status is Status.INCONCLUSIVE
    assert re.search(says, verdict.reason), verdict.reason
