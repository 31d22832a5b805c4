"""What each kernel is for, moves and computes: on kernels written here, and on recorded plans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ftsf_export.engine.audit import ELSEWHERE, Audit, NodeNames, audit, kind_of, scope_served
from ftsf_export.engine.cards import Card, card_of
from ftsf_export.engine.kernel_plan import Kernel, Plan, Tensor
from ftsf_export.engine.request import Product
from ftsf_export.engine.targets import TARGETS, stand_in, target_named
from ftsf_export.engine.trtexec import trtexec_command
from ftsf_export.errors import BuildError
from ftsf_export.network.scope import Scope
from ftsf_export.plan_record import KINDS, VIEWS

CARD = Card("a card", bytes_per_s=1e9, flops_per_s={"fp32": 1e12, "fp16": 4e12})


def kernel(name: str, *nodes: str, kind: str = "kgen", dims: tuple[int, ...] = (8, 64), dtype: str = "fp16") -> Kernel:
    tensors = (Tensor(f"{name}:in", dims, dtype), Tensor(f"{name}:out", dims, dtype))
    weight = (Tensor("w", dims, dtype),) if kind == "gemm" else ()
    return Kernel(name, kind, tensors[:1], weight, tensors[1:], nodes, "")


def product(node: str, flops: int | None = 1000) -> Product:
    return Product(node, "MATRIX_MULTIPLY", ("fp16", "fp16"), flops)


def read(*kernels: Kernel, products: tuple[Product, ...] = (), card: Card | None = None) -> Audit:
    return audit(Plan(kernels), products, card=card)


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (kernel("_gemm_mha_v2_myl0_6", "a/MatMul", "a/Softmax", "a/MatMul_1"), "attention"),
        (kernel("a/MatMul_U23_myl0_3", "a/MatMul", kind="gemm"), "product"),
        (kernel("__myl_FcAddAdd_myl0_17", "a/MatMul", "a/Add"), "product"),
        (kernel("__myl_CastMeanSubMulMeanAddSqrtDivMulCastMulAdd_myl0_8", "a.norm/LayerNormalization"), "norm"),
        (kernel("__myl_ReshTranMove_myl0_4", "a/Transpose"), "copy"),
        (kernel("__myl_CastTran_myl0_4", "a/Transpose"), "copy"),
        (kernel("__myl_TranMul_myl0_4", "a/Transpose", "a/Mul"), "pointwise"),
        (kernel("__myl_TranSlicReshTranSlicReshEtc_myl0_4", "a/Transpose"), "pointwise"),
        (kernel("Reformatting CopyNode for Input", kind="Reformat"), "copy"),
        (kernel("PWN(a/Mul)", "a/Mul", kind="PointWiseV2"), "pointwise"),
    ],
)
def test_what_a_kernel_is_for(one: Kernel, kind: str) -> None:
    assert kind_of(one) == kind
    assert kind in KINDS


def test_a_kernel_belongs_to_its_products_module_and_else_to_that_of_most_of_its_nodes() -> None:
    nodes = ("blocks.0/Add", "blocks.0/Add_1", "blocks.0.mlp.fc2/MatMul")
    assert scope_served(kernel("k", *nodes), ["blocks.0.mlp.fc2/MatMul"]) == "blocks.0.mlp.fc2"
    assert scope_served(kernel("k", *nodes)) == "blocks.0"
    assert scope_served(kernel("k")) == ELSEWHERE


def test_work_goes_to_the_product_kernel_or_is_shared_among_the_pieces() -> None:
    found = read(
        kernel("__myl_MoveConc_myl0_0", "a/MatMul"),
        kernel("a/MatMul_U1", "a/MatMul", kind="gemm"),
        kernel("__myl_Mul_myl0_2", "b/MatMul"),
        kernel("__myl_Sum_myl0_3", "b/MatMul"),
        products=(product("a/MatMul", 600), product("b/MatMul", 101), product("folded/MatMul", 7)),
    )
    assert [one.flops for one in found.kernels] == [0, 600, 51, 50]
    assert [one.node for one in found.unplaced] == ["folded/MatMul"]
    assert found.flops == 708


def test_bytes_are_those_of_inputs_constants_and_outputs() -> None:
    found = read(kernel("a/MatMul_U1", "a/MatMul", kind="gemm"), products=(product("a/MatMul"),))
    assert found.totals.moved_bytes == 3 * 8 * 64 * 2


def test_every_view_adds_up_to_the_whole(recorded: Any) -> None:
    plan = recorded("attention_fp16")
    found = audit(plan, (product("blocks.0/attn/scores"), product("blocks.0/mlp/fc1")), card=CARD)
    assert found.totals.moved_bytes == plan.moved_bytes
    assert found.unplaced == ()
    for view in VIEWS:
        groups = found.groups(view)
        assert sum(group.kernels for group in groups) == len(plan.kernels)
        assert sum(group.moved_bytes for group in groups) == found.totals.moved_bytes
        assert sum(group.flops for group in groups) == 2000
        assert sum(group.least_ms or 0 for group in groups) == pytest.approx(found.totals.least_ms)
    by_block = found.bytes_by_block_and_kind()
    assert sum(sum(row.values()) for row in by_block.values()) == found.totals.moved_bytes
    assert len(found.fused_attentions) == 1


def test_the_same_module_of_all_blocks_is_one_row() -> None:
    found = read(*(kernel(f"k{i}", f"blocks.{i}.mlp.fc1/MatMul") for i in (0, 1, 11)), kernel("h", "head/MatMul"))
    assert [(group.name, group.kernels) for group in found.groups("module")] == [
        ("blocks.*.mlp.fc1", 3),
        ("head", 1),
    ]
    assert [group.name for group in found.groups("block")] == ["blocks.0", "blocks.1", "blocks.11", "head"]


def test_fp32_of_the_compilers_own_is_neither_an_islands_nor_the_graphs_output() -> None:
    def chained(name: str, node: str, *, reads: str, writes: str) -> Kernel:
        one = kernel(name, node)
        return replace(one, inputs=(Tensor(reads, (4, 4), "fp32"),), outputs=(Tensor(writes, (4, 4), "fp32"),))

    found = read(
        chained("own", "blocks.0.norm/LayerNormalization", reads="x", writes="a"),
        chained("by design", "blocks.0.attn.softmax/Softmax", reads="a", writes="b"),
        chained("last", "head/Cast", reads="b", writes="logits"),
    )
    assert [one.kernel.name for one in found.fp32_intermediates(["blocks.*.attn.softmax"])] == ["own"]


def test_the_bound_is_memory_or_arithmetic_whichever_is_longer() -> None:
    assert CARD.least_s(1000, 1000, "fp16") == (1e-6, "memory")
    assert CARD.least_s(0, 4 * 10**12, "fp16") == (1.0, "arithmetic")
    # What the table does not know counts as the card's fastest.
    assert CARD.least_s(0, 4 * 10**12, "fp4") == (1.0, "arithmetic")
    found = read(kernel("a/MatMul_U1", "a/MatMul", kind="gemm"), products=(product("a/MatMul", 10**12),), card=CARD)
    assert found.totals.least_ms == pytest.approx(250)
    assert found.kernels[0].limited_by == "arithmetic"
    assert read(kernel("k")).totals.least_ms is None


def test_a_plan_of_a_dynamic_batch_is_refused(recorded: Any) -> None:
    with pytest.raises(BuildError, match="compile the plan at one batch"):
        audit(recorded("attention_fp16_dynamic"), (), card=None)
    with pytest.raises(BuildError, match="a/MatMul: dynamic"):
        read(products=(product("a/MatMul", None),))


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_target_has_a_stand_in_that_compiles_here_and_most_a_data_sheet(name: str) -> None:
    target = target_named(name)
    assert stand_in(target).rtx_problem() == ""
    assert (stand_in(target) is target) == (not target.rtx_problem())
    card = card_of(target)
    assert (card is None) == (name == "sm_103")
    if card is not None:
        assert card.flops_per_s["fp16"] > card.flops_per_s["fp32"]


def test_the_nearest_capability_stands_in() -> None:
    found = {name: stand_in(target_named(name)).capabilities for name in ("jetson-orin", "h100", "jetson-thor", "t4")}
    assert found == {"jetson-orin": ("8.6",), "h100": ("8.9",), "jetson-thor": ("12.0",), "t4": ("8.0",)}


def test_trtexec_is_told_a_shape_only_where_the_graph_is_dynamic() -> None:
    def line(dynamic: bool) -> str:
        return trtexec_command("model.onnx", {"clip": (2, 8, 3, 32, 32)} if dynamic else {})

    assert "--shapes=clip:2x8x3x32x32" in line(True)
    assert "--shapes" not in line(False)
    assert "--noTF32" in line(False)


def test_nodes_of_somebody_elses_graph_are_placed_by_what_is_known_of_them() -> None:
    half = Tensor("x", (4, 4), "fp16")
    nodes = (("node_linear_3",), ("node_layer_norm",), ("node_add",))
    kernels = tuple(Kernel(f"k{i}", "kgen", (half,), (), (half,), named, "") for i, named in enumerate(nodes))
    names = NodeNames(
        {"node_linear_3": Scope("encoder.layer.0.fc"), "node_layer_norm": Scope("encoder.norm"), "node_add": Scope()},
        {"node_layer_norm": "LayerNormalization"},
    )
    read = audit(Plan(kernels), (), card=None, names=names)
    assert [one.module for one in read.kernels] == ["encoder.layer.0.fc", "encoder.norm", "(no module)"]
    assert [one.kind for one in read.kernels] == ["pointwise", "norm", "pointwise"]
    assert {group.name for group in read.groups("block")} == {"encoder.layer.0", "encoder", "(no module)"}
    assert read.kernels[0].group("module") == "encoder.layer.*.fc"
