"""``ftsf plan`` and the rewrite switches on a small bundle: what is said, what is kept, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftsf_export.bundle import Bundle
from ftsf_export.verdict import Status
from tests.unit.manifests import rehash

pytest.importorskip("tensorrt_rtx", reason="a plan needs TensorRT for RTX")


def divide_after_the_product(path: Path, module: str) -> None:
    """The module's softmax(s) v as (exp(s - max) v) / sum: the same numbers, in a form that does not fuse."""
    import onnx_ir as ir

    model = ir.load(path)
    graph = model.graph
    softmax = next(node for node in graph if str(node.name).startswith(module) and node.op_type == "Softmax")
    (mix, _), *_ = softmax.outputs[0].uses()
    last = ir.Value(name="last", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1]))
    last.const_value = ir.tensor(np.array([-1], np.int64), name="last")
    graph.initializers.add(last)
    kind = mix.outputs[0].dtype

    def add(op: str, inputs: list[ir.Value], after: ir.Node) -> ir.Node:
        node = ir.Node("", op, inputs, name=f"{module}/{op}")
        node.outputs[0].name, node.outputs[0].dtype = f"{module}/{op}", kind
        graph.insert_after(after, node)
        return node

    scores = softmax.inputs[0]
    assert scores is not None
    largest = add("ReduceMax", [scores, last], softmax)
    less = add("Sub", [scores, largest.outputs[0]], largest)
    weights = add("Exp", [less.outputs[0]], less)
    total = add("ReduceSum", [weights.outputs[0], last], weights)
    mix.replace_input_with(0, weights.outputs[0])
    users = list(mix.outputs[0].uses())
    divided = add("Div", [mix.outputs[0], total.outputs[0]], mix)
    for user, slot in users:
        user.replace_input_with(slot, divided.outputs[0])
    graph.remove(softmax, safe=True)
    ir.save(model, path)


def test_a_plan_tells_kernels_bytes_work_and_a_bound(say: Callable[..., Any], bundle: Path) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file()}
    said = say("plan", bundle, "--target", "rtx-30", "--by", "module")
    assert said.code == 0, said.err
    assert "2 of 2 became one kernel" in said.out
    assert "a bound, not a measurement" in said.out.replace("\n", " ")
    assert "GeForce RTX 3090" in said.out
    assert "blocks.*.mlp.fc2" in said.out
    assert "trtexec --onnx=model.onnx" in said.out
    assert "proxy" not in said.out
    assert {path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file()} == before


def test_json_holds_the_whole_plan(say: Callable[..., Any], bundle: Path) -> None:
    said = say("plan", bundle, "--target", "rtx-30", "--json")
    assert said.code == 0, said.err
    plan = said.json["plan"]
    assert plan["kernels"] == len(plan["kernel_list"]) == sum(plan["kernels_by_kind"].values())
    assert plan["moved_bytes"] == sum(one["moved_bytes"] for one in plan["kernel_list"])
    assert plan["gemm_flops"] == plan["gemm_flops_by_type"]["fp16"]
    # The same products that the export counted on shapes alone.
    assert plan["gemm_flops"] == Bundle.open(bundle).manifest.graph.graph_flops
    assert plan["fused_attentions"] == len(plan["expected_attentions"]) == 2
    assert plan["least_ms"] == pytest.approx(sum(one["least_ms"] for one in plan["kernel_list"]))
    assert plan["memory"]["weights_bytes"] > 0
    assert [v["gate"] for v in said.json["verdicts"]] == [
        "plan.types-rtx-rtx-30", "plan.work-rtx-rtx-30", "plan.attentions-rtx-rtx-30",
    ]  # fmt: skip


def test_a_target_that_is_not_compiled_here_is_a_proxy_everywhere(say: Callable[..., Any], bundle: Path) -> None:
    said = say("plan", bundle, "--target", "jetson-orin", "--json")
    assert said.code == 0, said.err
    assert said.json["plan"]["compiled_for"] == ["8.6"]
    assert "8.6 in place of 8.7" in said.json["plan"]["proxy"]
    assert all("jetson-orin" in verdict["proxy_for"] for verdict in said.json["verdicts"])
    assert "proxy      compiled for compute capability 8.6" in said.err


def test_a_bundle_against_itself_differs_in_nothing(say: Callable[..., Any], bundle: Path) -> None:
    said = say("plan", bundle, "--target", "rtx-30", "--diff", bundle, "--by", "block", "--json")
    assert said.code == 0, said.err
    rows = said.json["difference"]
    assert rows[0]["name"] == "(all)"
    assert rows[0]["moved_bytes"] == said.json["plan"]["moved_bytes"]
    assert all(row[name] == row[f"other_{name}"] for row in rows for name in ("kernels", "moved_bytes", "flops"))


def test_an_attention_that_does_not_fuse_exits_1_and_names_its_nodes(say: Callable[..., Any], bundle: Path) -> None:
    module = "blocks.0.temporal.attn"
    divide_after_the_product(bundle / "model.onnx", f"{module}.core")
    rehash(bundle)
    said = say("plan", bundle, "--target", "rtx-30", "--json")
    assert said.code == 1
    assert said.json["plan"]["unfused_attentions"] == [module]
    assert "1 of 2 attentions became one kernel" in said.json["error"]
    assert f"{module}.core/MatMul" in said.json["error"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--target", "rtx-20"), "target: expected one of"),
        (("--batch", "3"), "takes exactly 1 clips"),
        (("--by", "colour"), "--by"),
    ],
)
def test_wrong_usage(say: Callable[..., Any], bundle: Path, args: tuple[str, ...], expected: str) -> None:
    said = say("plan", bundle, *args)
    assert said.code == 2
    assert expected in said.err


def test_an_export_judges_its_plan_and_reports_it(
    say: Callable[..., Any], tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the batch is a range: the plan is then compiled once more. A form that does not fuse exits 1."""
    import torch

    class Columns:
        """PyTorch, but for softmax: the same numbers from a transposed copy, out of reach of the fused kernel."""

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

        @staticmethod
        def softmax(x: torch.Tensor, dim: int) -> torch.Tensor:
            return torch.softmax(x.transpose(dim, -2), dim=-2).transpose(dim, -2)

    monkeypatch.setattr("ftsf_export.graph.forms.regular.torch", Columns())
    # Two heads: with one, TensorRT for RTX 1.7 refuses this small a graph at a range of batches.
    sizes = (*tiny, "--dim", "128", "--batch", "1:1:2")
    said = say("export", *sizes, "--target", "rtx-30", "-o", tmp_path / "out", "--json")
    assert said.code == 1, said.err
    assert "plan.attentions-rtx-rtx-30 failed" in said.json["error"]
    bundle = Bundle.open(tmp_path / "out")
    found = {verdict.gate: verdict.status for verdict in bundle.verdicts}
    assert found["plan.attentions-rtx-rtx-30"] is Status.FAILED
    assert found["plan.work-rtx-rtx-30"] is Status.PASSED
    (plan,) = json.loads((bundle.path / "report.json").read_text(encoding="utf-8"))["plans"]
    assert plan["batch"] == 1
    assert [(one["batch"], one["expected"], len(one["unfused"])) for one in plan["attentions_at_batch"]] == [
        (1, 2, 2), (2, 2, 2),
    ]  # fmt: skip
    assert plan["moved_bytes"] > 0
    page = (bundle.path / "report.html").read_text(encoding="utf-8")
    assert "Bytes moved by each block" in page
    assert "Not one kernel" in page
    assert "## Compiled plan" in (bundle.path / "report.md").read_text(encoding="utf-8")


def test_rewrites_are_switched_by_name_recorded_and_listed(
    say: Callable[..., Any], tiny: tuple[str, ...], tmp_path: Path
) -> None:
    args = ("export", *tiny, "--builder", "none", "--precision", "fp32", "-o", tmp_path / "out")
    unknown = say(*args, "--no-rewrite", "temporal")
    assert unknown.code == 2
    assert "temporal-fc" in unknown.err
    assert not (tmp_path / "out").exists()
    said = say(*args, "--no-rewrite", "all", "--rewrite", "temporal-fc")
    assert said.code == 0, said.err
    (rewrite,) = Bundle.open(tmp_path / "out").manifest.graph.rewrites
    assert rewrite.name == "temporal-fc"
    assert rewrite.saved_flops > 0
    listed = say("info", tmp_path / "out")
    assert "rewrite    temporal-fc: " in listed.out
    assert "class-tail" not in listed.out
