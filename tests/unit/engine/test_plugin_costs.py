"""What plugins would cost beside a plan, who takes them, and how a build makes them known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.config import BatchRange
from ftsf_export.engine import worker
from ftsf_export.engine.audit import audit
from ftsf_export.engine.cards import card_of
from ftsf_export.engine.kernel_plan import Kernel, Plan, Tensor, nodes_named
from ftsf_export.engine.network import products_of
from ftsf_export.engine.plugin_costs import (
    attention_costs,
    plugin_alongs,
    plugin_is_better,
    plugin_problem,
)
from ftsf_export.engine.request import BuildOptions, BuildRequest, CompilerRefusal, GraphFacts
from ftsf_export.engine.targets import target_named
from ftsf_export.errors import EnvironmentLacks
from ftsf_export.plan_record import AttentionCost, KernelTotals

MODEL = TimeSformerConfig(frames=8, channels=3, height=224, width=224, num_classes=5, dim=512, depth=3)
# Queries, keys, values and outputs of one token in half precision. A frame has 196 patches, and a class token, which
# takes no part along time.
TOKEN_BYTES = 4 * 512 * 2
ALONG_TIME, ALONG_SPACE = 8 * 196, 8 * 197


def kernel(node: str, elements: int = 1000) -> Kernel:
    tensor = Tensor(node, (elements,), "fp16")
    return Kernel(node, "kgen", (tensor,), (), (), (node,), "")


def costs(model: TimeSformerConfig, *kernels: Kernel, target: str = "jetson-orin") -> tuple[AttentionCost, ...]:
    return attention_costs(audit(Plan(kernels), (), card=card_of(target_named(target))), model, "fp16", 1)


def test_kernels_of_an_attention_are_those_between_its_products() -> None:
    """Also a head split that is a copy; not the products, nor the last block's, which stays decomposed."""
    time, space = costs(
        MODEL,
        kernel("blocks.0.temporal.attn.core.pool_q/MatMul"), kernel("blocks.2.temporal.attn.core/Mul"),
        kernel("blocks.1.temporal.attn/Transpose"), kernel("blocks.1.temporal.attn.to_out/MatMul"),
        kernel("blocks.0.temporal.norm/Mul"), kernel("blocks.1.spatial.attn.core/Mul", 10),
        kernel("blocks.2.spatial.attn.core/Mul"),
    )  # fmt: skip
    assert (time.module, time.attentions) == ("blocks.*.temporal.attn", 3)
    assert (time.compiled.kernels, time.compiled.moved_bytes) == (3, 6000)
    assert (space.along, space.attentions, space.compiled.kernels, space.compiled.moved_bytes) == ("space", 2, 1, 20)
    assert (time.bound_bytes, space.bound_bytes) == (3 * ALONG_TIME * TOKEN_BYTES, 2 * ALONG_SPACE * TOKEN_BYTES)


@pytest.mark.parametrize(("along", "ratio"), [("time", 1.022), ("space", 1.039)])
def test_additive_attention_moves_the_bound(along: str, ratio: float) -> None:
    """The ratios of the operation's README; two pools of two products over K, of 64 multiplications and additions."""
    cost = next(cost for cost in costs(MODEL) if cost.along == along)
    assert cost.plugin.moved_bytes / cost.bound_bytes == pytest.approx(ratio, abs=5e-4)
    assert cost.plugin.kernels == cost.attentions
    tokens = {"time": ALONG_TIME, "space": ALONG_SPACE}[along]
    assert cost.plugin.flops == cost.attentions * tokens * 8 * 8 * 64


def test_favor_counts_its_features() -> None:
    """266 of them at K 64: projections, then weights along time, sums of values along space."""
    time, space = costs(MODEL.with_mechanism("performer"))
    heads = 8
    assert time.plugin.flops == 3 * ALONG_TIME * heads * (4 * 64 * 266 + 2 * 8 * (266 + 64))
    assert space.plugin.flops == 2 * ALONG_SPACE * heads * (4 * 64 * 266 + 4 * 64 * 266)
    assert time.plugin.moved_bytes / time.bound_bytes == pytest.approx(2.080, abs=5e-4)


def test_rotary_attention_counts_memory_once_and_all_pairs() -> None:
    """Jointly several programs read a head's keys, out of the cache: only positions come on top of the bound."""
    regular = MODEL.with_mechanism("regular")
    time, space = costs(regular)
    (joint,) = costs(replace(regular, attn_type="joint"))
    for cost, tokens, attending, ratio in (
        (time, ALONG_TIME, 8, 1.020), (space, ALONG_SPACE, 197, 1.034), (joint, 1569, 1569, 1.050)
    ):  # fmt: skip
        assert cost.plugin.moved_bytes / cost.bound_bytes == pytest.approx(ratio, abs=5e-4)
        assert cost.plugin.flops == cost.attentions * tokens * 8 * 4 * 64 * attending


def test_joint_attention_is_one_frame() -> None:
    (joint,) = costs(replace(MODEL, attn_type="joint"))
    assert joint.module == "blocks.*.joint.attn"
    assert joint.bound_bytes == 2 * 4 * (1 + 8 * 196) * 512 * 2


def test_without_the_class_tail_the_last_block_counts_too() -> None:
    model = replace(MODEL, attn_type="joint")
    (joint,) = attention_costs(audit(Plan(()), (), card=None), model, "fp16", 1, class_tail=False)
    assert joint.attentions == 3


def test_a_type_without_kernels_has_no_cost() -> None:
    read = audit(Plan(()), (), card=None)
    assert attention_costs(read, MODEL, "fp16", 1)
    assert attention_costs(read, MODEL, "int8", 1) == ()


@pytest.mark.parametrize("model", [{"attn_mechanism": "regular", "rotary_emb": False}, {"dim_head": 16}])
def test_no_plugin_no_cost(model: dict[str, Any]) -> None:
    assert costs(replace(MODEL, **model)) == ()


@pytest.mark.parametrize(
    ("compiled", "plugin", "better"),
    [
        ((3, 100, 2e-6), (1, 80, 1e-6), True),
        ((3, 100, 1e-6), (1, 80, 2e-6), False),  # time goes before bytes
        ((3, 100, None), (1, 80, None), True),
        ((3, 100, None), (1, 120, None), False),
        ((3, 100, None), (1, 104, None), True),  # close: fewer kernels
        ((1, 100, 1e-6), (1, 100, 1e-6), False),
    ],
)
def test_the_plugin_is_taken_where_its_bound_is_lower(compiled: Any, plugin: Any, better: bool) -> None:
    one, other = (
        KernelTotals(kernels=count, moved_bytes=moved, flops=0, least_ms=least)
        for count, moved, least in (compiled, plugin)
    )
    assert plugin_is_better(one, other) is better


def test_who_takes_plugins() -> None:
    assert plugin_problem("fastformer", 64, rotated=False) == plugin_problem("regular", 64, rotated=True) == ""
    assert "without rotary positions compilers make one kernel" in plugin_problem("regular", 64, rotated=False)
    assert "32 to 128, got 16" in plugin_problem("performer", 16, rotated=True)
    assert (plugin_alongs("divided"), plugin_alongs("joint")) == (("time", "space"), ("space",))


@pytest.mark.parametrize(
    ("builder", "attn", "precision", "along", "names"),
    [
        ("tensorrt", "fastformer", "fp32", ("time",), ("FtsfAdditiveAttention",)),
        ("tensorrt", "performer", "bf16", ("space",), ("FtsfFavorAttention",)),
        ("tensorrt", "performer", "fp32", ("time",), ()),  # no such kernel: the function is compiled
        ("tensorrt", "performer", "fp16", (), ()),
        ("rtx", "fastformer", "fp16", ("time",), ()),
    ],
)
def test_what_a_compiler_is_to_know(builder: str, attn: str, precision: str, along: Any, names: Any) -> None:
    facts = GraphFacts(
        onnx_path=Path("model.onnx"), precision=precision, batch=BatchRange(1, 1, 1), input_name="clip",
        clip_shape=(8, 3, 224, 224), plugins=attn if along else "",
    )  # fmt: skip
    assert facts.operations(builder) == names
    assert replace(facts, plugins="").operations(builder) == ()


NOTE = "[ONNX Layer: pool_q/MatMul | blocks.0.temporal.attn.core/FtsfAdditiveAttention (FtsfAdditiveAttention)]"


def test_nodes_of_functions_stand_below_their_callers() -> None:
    """The parser's words, recorded with tensorrt_rtx 1.7.1."""
    assert nodes_named(NOTE) == ("blocks.0.temporal.attn.core.pool_q/MatMul",)
    assert nodes_named(NOTE.replace("pool_q/", "")) == ("blocks.0.temporal.attn.core/MatMul",)
    assert nodes_named("[ONNX Layer: a/b][ONNX Layer: c]") == ("a/b][ONNX Layer: c",)
    assert nodes_named("[ONNX Layer: a/b]\x1f[ONNX Layer: c]") == ("a/b", "c")


def test_products_of_functions_stand_below_their_callers() -> None:
    tensor = SimpleNamespace(name="x", shape=(-1, 4), dtype=SimpleNamespace(name="HALF"))
    layer = SimpleNamespace(
        type=SimpleNamespace(name="MATRIX_MULTIPLY"), name="pool_q/MatMul_17", metadata=NOTE, num_inputs=2, op0=0,
        get_input=lambda _: tensor, get_output=lambda _: tensor,
    )  # fmt: skip
    network = SimpleNamespace(num_layers=1, get_layer=lambda _: layer)
    assert [product.node for product in products_of(None, network)] == ["blocks.0.temporal.attn.core.pool_q/MatMul"]


class Parser:
    """Notes what it is handed."""

    handed: tuple[Any, ...] = ()
    num_errors = 1
    takes = True

    def __init__(self, *_: Any) -> None: ...

    def parse(self, *handed: Any) -> bool:
        Parser.handed = handed
        return self.takes

    def get_error(self, _: int) -> Any:
        return SimpleNamespace(desc=lambda: "no plugin of that name")


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The step of the worker that parses with plugins, over stand-ins."""
    monkeypatch.setattr("polygraphy.backend.trt.create_network", lambda **_: ("builder", "network"))
    monkeypatch.setattr("polygraphy.backend.trt.get_trt_logger", lambda: None)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x0a" + b"\xca\x01\x02ab" + b"\x3a\x01g")
    graph = GraphFacts(
        onnx_path=path, precision="fp16", batch=BatchRange(1, 1, 1), input_name="clip", clip_shape=(8, 3, 32, 32),
        plugins="fastformer",
    )  # fmt: skip
    order = BuildRequest(
        graph=graph, builder="tensorrt", target=target_named("jetson-orin"), output=tmp_path / "engine.plan",
        options=BuildOptions(plugin_kernels=Path("kernels")),
    )  # fmt: skip

    def run(**changes: Any) -> Any:
        asked = replace(order, graph=replace(graph, **changes))
        trt = SimpleNamespace(OnnxParser=Parser)
        return worker._registered(trt, asked), *worker._parsed_with_plugins(trt, asked, strongly_typed=True)

    return run


def test_a_build_registers_first_and_parses_without_functions(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Any] = []
    monkeypatch.setattr("ftsf_plugins.register.register", lambda _trt, *asked: registered.extend(asked) or "v3")
    way, builder, network, parser = build()
    assert registered == [("FtsfAdditiveAttention",), Path("kernels")]
    assert (way, builder, network) == ("v3", "builder", "network")
    assert isinstance(parser, Parser)
    model, path = Parser.handed
    assert model == b"\x08\x0a\x3a\x01g"
    assert path.endswith("model.onnx")
    monkeypatch.setattr(Parser, "takes", False)
    with pytest.raises(CompilerRefusal, match="refused the graph: no plugin of that name"):
        build()


def test_a_build_without_triton_says_so(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: Any) -> None:
        raise ModuleNotFoundError("No module named 'triton'")

    monkeypatch.setattr("ftsf_plugins.register.register", lacking)
    with pytest.raises(EnvironmentLacks, match="Triton compiles: No module named 'triton'") as refused:
        build()
    assert refused.value.install == "pip install 'ftsf-export[plugins]'"
