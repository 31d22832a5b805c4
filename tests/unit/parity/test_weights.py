"""The constants of an ONNX file: finite, and those that were exported."""

from __future__ import annotations

import math
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ftsf_export.errors import BundleError, EnvironmentLacks
from ftsf_export.parity.weights import judge_weights, weight_digests
from ftsf_export.verdict import Status, Subject, Verdict


def weights_of(dtype: type = np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "blocks.0.spatial.attn.to_out.weight": rng.normal(size=(4, 4)).astype(dtype),
        "head.weight": rng.normal(size=(4, 6)).astype(dtype),
        "shape": np.asarray([1, -1], np.int64),
    }


def write(path: Path, weights: dict[str, np.ndarray], *, external: bool = False, constant: float = 2.0) -> Path:
    scale = helper.make_node("Constant", [], ["scale"], value=numpy_helper.from_array(np.float32(constant)))
    graph = helper.make_graph(
        [scale, helper.make_node("Identity", ["clip"], ["logits"])],
        "graph",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    onnx.save(model, path, save_as_external_data=external, location="model.onnx.data", size_threshold=0)
    return path


def verdict_on(path: Path, exported: dict[str, str]) -> Verdict:
    return judge_weights(path, Subject("model.onnx", "0" * 64), exported=exported)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_what_was_exported_passes_however_it_is_stored(tmp_path: Path, dtype: type) -> None:
    exported = weight_digests(write(tmp_path / "model.onnx", weights_of(dtype)))
    assert set(exported) == {*weights_of(), "scale"}
    (tmp_path / "there").mkdir()
    moved = write(tmp_path / "there" / "model.onnx", weights_of(dtype), external=True)
    assert (tmp_path / "there" / "model.onnx.data").exists()
    verdict = verdict_on(moved, exported)
    assert verdict.status is Status.PASSED
    assert [m.value for m in verdict.measures] == [4]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_weight_that_is_not_a_number_is_named(tmp_path: Path, dtype: type, value: float, recorded: bool) -> None:
    path = write(tmp_path / "model.onnx", weights_of(dtype))
    exported = weight_digests(path) if recorded else {}
    bad = weights_of(dtype)
    bad["blocks.0.spatial.attn.to_out.weight"][2, 1] = value
    verdict = verdict_on(write(path, bad), exported)
    assert verdict.status is Status.FAILED
    assert (
        "blocks.0.spatial.attn.to_out.weight: 1 of 16 values are NaN or infinite, the first at [2, 1]" in verdict.reason
    )


def test_a_constant_inside_a_node_is_read_too(tmp_path: Path) -> None:
    verdict = verdict_on(write(tmp_path / "model.onnx", weights_of(), constant=math.nan), {})
    assert "weight scale: 1 of 1 values are NaN" in verdict.reason


def test_an_altered_weight_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", weights_of())
    exported = weight_digests(path)
    zeroed = weights_of()
    zeroed["blocks.0.spatial.attn.to_out.weight"][:] = 0
    verdict = verdict_on(write(path, zeroed), exported)
    assert verdict.status is Status.FAILED
    assert "blocks.0.spatial.attn.to_out.weight is not the one that was exported" in verdict.reason
    exchanged = weights_of()
    exchanged["head.weight"][:, [1, 2]] = exchanged["head.weight"][:, [2, 1]]
    assert "head.weight is not the one" in verdict_on(write(path, exchanged), exported).reason
    both = {**zeroed, "head.weight": exchanged["head.weight"]}
    assert "; 1 more weights are wrong" in verdict_on(write(path, both), exported).reason


def test_other_type_shape_or_set_of_weights_fails(tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", weights_of())
    exported = weight_digests(path)
    for changed in (
        {**weights_of(), "head.weight": weights_of()["head.weight"].astype(np.float64)},
        {**weights_of(), "head.weight": weights_of()["head.weight"].reshape(6, 4)},
        {name: value for name, value in weights_of().items() if name != "head.weight"},
        {**weights_of(), "stray": np.ones(2, np.float32)},
    ):
        assert verdict_on(write(path, changed), exported).status is Status.FAILED


def test_a_file_without_constants_proves_nothing(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["clip"], ["logits"])],
        "graph",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1])],
    )
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    verdict = verdict_on(tmp_path / "model.onnx", {})
    assert verdict.status is Status.FAILED
    assert "no evidence" in verdict.reason


def test_a_file_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", weights_of(), external=True)
    (tmp_path / "model.onnx.data").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx: not a readable ONNX file"):
        weight_digests(path)
    path.write_bytes(b"\xff not protobuf")
    with pytest.raises(BundleError, match=r"model\.onnx: not a readable ONNX file"):
        weight_digests(path)


def test_without_onnx_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(EnvironmentLacks, match=r"pip install 'ftsf-export\[onnx\]'"):
        weight_digests(tmp_path / "model.onnx")
