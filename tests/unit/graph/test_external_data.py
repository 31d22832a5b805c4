"""Weights beyond protobuf's reach lie in a file beside the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftsf_export.errors import ExportError
from ftsf_export.graph import onnx_model
from ftsf_export.graph.check import check_file
from ftsf_export.graph.precision import to_precision

Make = Callable[..., Any]


def test_the_limit_leaves_room_in_two_gib() -> None:
    assert onnx_model.EXTERNAL_DATA_BYTES == 1536 * 2**20 < 2**31


def test_weights_within_the_limit_stay_inside(graph_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(depth=5)
    constants = [value.const_value for value in graph.model.graph.initializers.values()]
    monkeypatch.setattr(onnx_model, "EXTERNAL_DATA_BYTES", sum(tensor.nbytes for tensor in constants))
    assert graph.save(tmp_path / "model.onnx") == (tmp_path / "model.onnx",)
    monkeypatch.setattr(onnx_model, "EXTERNAL_DATA_BYTES", sum(tensor.nbytes for tensor in constants) - 1)
    assert graph.save(tmp_path / "model.onnx") == (tmp_path / "model.onnx", tmp_path / "model.onnx.data")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_file_beside_is_used(
    graph_of: Make, clips: Make, ort: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    graph = to_precision(graph_of(depth=5), precision)
    for place in ("inline", "one", "two"):
        (tmp_path / place).mkdir()
    graph.save(tmp_path / "inline" / "model.onnx")
    monkeypatch.setattr(onnx_model, "EXTERNAL_DATA_BYTES", 1000)
    written = [graph.save(tmp_path / place / "model.onnx") for place in ("one", "two")]
    assert [path.name for path in written[0]] == ["model.onnx", "model.onnx.data"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["model.onnx", "model.onnx.data"]
    # Twice the same bytes, and nearly all of them in the data file.
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert written[0][1].stat().st_size > 0.98 * graph.weight_bytes
    check_file(written[0][0])
    # Saving leaves the model in memory whole.
    graph.save(tmp_path / "two" / "again.onnx")
    if precision == "fp32":
        got, expected = (ort(tmp_path / place / "model.onnx", clips(1))["logits"] for place in ("one", "inline"))
        np.testing.assert_array_equal(got, expected)


def test_without_the_file_beside_the_checker_refuses(
    graph_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_model, "EXTERNAL_DATA_BYTES", 1000)
    path, data = graph_of(depth=5).save(tmp_path / "model.onnx")
    data.unlink()
    with pytest.raises(ExportError, match=r"model\.onnx: onnx\.checker refuses it"):
        check_file(path)
