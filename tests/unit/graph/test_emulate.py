"""Half precision on a CPU: every half tensor is rounded, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ftsf_export.graph import onnx_model
from ftsf_export.graph.check import check_file
from ftsf_export.graph.emulate import HALF as HALF_TYPES
from ftsf_export.graph.emulate import emulate
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.precision import to_precision
from ftsf_export.graph.rewrite import ALL
from ftsf_export.network.scope import Scope

HALF = {"fp16": (TensorProto.FLOAT16, np.float16), "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16)}
TORCH = {"fp16": torch.float16, "bf16": torch.bfloat16}

Make = Callable[..., Any]


@pytest.fixture
def emulated(graph_of: Make, tmp_path: Path) -> Make:
    """The half graph of a model, its file and the file of its emulation."""

    def make(precision: str, **case: Any) -> Any:
        model = to_precision(graph_of(**case), precision)
        model.save(tmp_path / "model.onnx")
        emulate(tmp_path / "model.onnx", tmp_path / "emulated.onnx")
        check_file(tmp_path / "emulated.onnx")
        return model, tmp_path / "model.onnx", tmp_path / "emulated.onnx"

    return make


class RoundedOnce(TorchDispatchMode):
    """Half precision as the type has it, whatever the processor: each operator in FP32, its result rounded once.

    PyTorch's own half kernels are no measure: with other instructions of a processor they round other sums.
    """

    def __init__(self, half: torch.dtype) -> None:
        super().__init__()
        self._half = half

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default or func.is_view:
            return func(*args, **kwargs)
        halves = [leaf for leaf in tree_leaves((args, kwargs)) if getattr(leaf, "dtype", None) == self._half]
        wide_args, wide_kwargs = self._changed((args, kwargs), self._half, torch.float32)
        out = func(*wide_args, **wide_kwargs)
        return self._changed(out, torch.float32, self._half) if halves else out

    @staticmethod
    def _changed(tree: Any, old: torch.dtype, new: torch.dtype) -> Any:
        return tree_map_only(torch.Tensor, lambda tensor: tensor.to(new) if tensor.dtype == old else tensor, tree)


@pytest.mark.parametrize("precision", HALF)
def test_its_error_has_the_size_of_half_precision(
    emulated: Make, model_of: Make, clips: Make, eager: Make, ort: Make, distance: Make, precision: str
) -> None:
    """The same form in PyTorch, rounded once an operator: the errors against FP32 have one size.

    Within a block or two the roundings of two runs are no longer the same ones, since sums have another order: only
    the size can be compared, over many clips. Without the casts ONNX Runtime's FP16 error is half as large.
    """
    _, _, path = emulated(precision, depth=5)
    model, clip = model_of(depth=5), clips(32)
    expected = eager(model, (), clip)["logits"]
    form = ExportForm(model, ALL).to(TORCH[precision])
    with torch.no_grad(), RoundedOnce(TORCH[precision]):
        own = form(torch.from_numpy(clip).to(TORCH[precision])).float().numpy()
    mine = np.concatenate([ort(path, one[None], optimize=False)["logits"] for one in clip])
    assert 0.75 <= distance(mine, expected) / distance(own, expected) <= 1.33


@pytest.mark.parametrize("precision", HALF)
def test_every_half_value_is_rounded_once(emulated: Make, clips: Make, ort: Make, precision: str) -> None:
    """To the last bit what PyTorch's cast makes of the unrounded value, on any processor."""
    model, _, path = emulated(precision, depth=5)
    halves = [value.name for node in model.model.graph for value in node.outputs if value.dtype in HALF_TYPES]
    got = ort(path, clips(1), [*halves, *(f"{name}/exact" for name in halves)], optimize=False)
    wrong = [
        name
        for name in halves
        if not np.array_equal(got[name], torch.from_numpy(got[f"{name}/exact"]).to(TORCH[precision]).float().numpy())
    ]
    changed = [name for name in halves if not np.array_equal(got[name], got[f"{name}/exact"])]
    assert not wrong
    # Most nodes compute (the others move values about): their results do not fit the type by themselves.
    assert len(changed) > len(halves) / 2


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("mechanism", ["fastformer", "performer"])
def test_islands_and_taps(
    emulated: Make, model_of: Make, clips: Make, eager: Make, ort: Make, distance: Make, mechanism: str, precision: str
) -> None:
    options = {"attn_mechanism": mechanism} | ({"performer_features": 4} if mechanism == "performer" else {"depth": 3})
    model, _, path = emulated(precision, **options, batch="1" if mechanism == "performer" else "1:2:4")
    values = {value.name: value for node in ir.load(path).graph for value in node.outputs}
    # Every value of the half graph is there under its name, in FP32.
    for node in model.model.graph:
        island = any(Scope(i.scope).holds(node.metadata_props[onnx_model.MODULE_KEY]) for i in model.islands)
        for value in node.outputs:
            assert values[value.name].dtype in (ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL)
            rounded = f"{value.name}/half" in values
            assert rounded is (value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)), value.name
            assert not (rounded and island and node.op_type != "Cast")
    got, expected = ort(path, clips(1), model.taps, optimize=False), eager(model_of(**options), model.taps, clips(1))
    errors = {name: distance(got[name], expected[name]) for name in got}
    # One rounding is 2^-11 (fp16) or 2^-8 (bf16).
    low, high = {"fp16": (2**-13, 2e-2), "bf16": (2**-10, 1.5e-1)}[precision]
    assert {name: error for name, error in errors.items() if not low <= error <= high} == {}


def graph_file(path: Path, nodes: list[Any], constants: dict[str, np.ndarray], output: int = TensorProto.FLOAT) -> Path:
    """clip (2,) float32 -> nodes -> logits (2,)."""
    graph = helper.make_graph(
        nodes,
        "crafted",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("logits", output, [2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def run_emulated(path: Path, ort: Make, clip: list[float]) -> list[float]:
    emulate(path, path.with_name("emulated.onnx"))
    return list(ort(path.with_name("emulated.onnx"), np.float32(clip), optimize=False)["logits"])


@pytest.mark.parametrize("precision", HALF)
def test_overflow_is_infinite_inside_a_chain(ort: Make, tmp_path: Path, precision: str) -> None:
    """300^2 leaves FP16; a runtime that keeps the chain in FP32 would bring back 300."""
    kind, numpy_kind = HALF[precision]
    nodes = [
        helper.make_node("Cast", ["clip"], ["half"], to=kind),
        helper.make_node("Mul", ["half", "half"], ["square"]),
        helper.make_node("Mul", ["square", "small"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["logits"], to=TensorProto.FLOAT),
    ]
    path = graph_file(tmp_path / "model.onnx", nodes, {"small": np.asarray([2**-8] * 2, numpy_kind)})
    got = run_emulated(path, ort, [300.0, 2.0])
    assert got[1] == 2**-6
    assert got[0] == (np.inf if precision == "fp16" else pytest.approx(300.0**2 / 256, rel=2**-7))


def test_every_rounding_counts_and_islands_have_none(ort: Make, tmp_path: Path) -> None:
    """1 + 2^-12 is 1 in FP16; added in an FP32 island it stays."""
    tiny = np.float32([2**-12] * 2)
    inside = [
        helper.make_node("Cast", ["clip"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "tiny"], ["logits"]),
    ]
    outside = [
        helper.make_node("Cast", ["clip"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Add", ["half", "tiny"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["logits"], to=TensorProto.FLOAT),
    ]
    assert run_emulated(graph_file(tmp_path / "in.onnx", inside, {"tiny": tiny}), ort, [1.0, 0.0]) == [
        1 + 2**-12,
        2**-12,
    ]
    path = graph_file(tmp_path / "out.onnx", outside, {"tiny": tiny.astype(np.float16)})
    assert run_emulated(path, ort, [1.0, 0.0]) == [1.0, 2**-12]
    # The input is rounded too.
    assert run_emulated(path, ort, [1 + 2**-12, 0.0])[0] == 1.0


def test_a_half_output_keeps_its_name(ort: Make, tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["clip"], ["logits"], to=TensorProto.FLOAT16)]
    path = graph_file(tmp_path / "model.onnx", nodes, {}, TensorProto.FLOAT16)
    assert run_emulated(path, ort, [1 + 2**-12, 1 + 2**-10]) == [1.0, 1 + 2**-10]


def test_an_fp32_graph_comes_out_as_it_was(graph_of: Make, tmp_path: Path) -> None:
    graph_of(depth=5).save(tmp_path / "model.onnx")
    emulate(tmp_path / "model.onnx", tmp_path / "emulated.onnx")
    assert (tmp_path / "emulated.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()


@pytest.mark.parametrize("limit", [0, 10**9], ids=["wide weights beside", "wide weights within"])
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_weights_beside_the_file_are_found(
    graph_of: Make,
    clips: Make,
    ort: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    limit: int,
) -> None:
    """The emulation lies in another folder, and its weights with it."""
    model = to_precision(graph_of(depth=5), precision)
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    model.save(there / "inline.onnx")
    emulate(there / "inline.onnx", there / "expected.onnx")
    monkeypatch.setattr(onnx_model, "EXTERNAL_DATA_BYTES", 0)
    assert len(model.save(here / "model.onnx")) == 2
    monkeypatch.setattr(onnx_model, "EXTERNAL_DATA_BYTES", limit)
    emulate(here / "model.onnx", there / "emulated.onnx")
    assert (there / "emulated.onnx.data").exists() is (limit == 0)
    got, expected = (
        ort(there / f"{name}.onnx", clips(1), optimize=False)["logits"] for name in ("emulated", "expected")
    )
    np.testing.assert_array_equal(got, expected)
