"""The table of precisions against what NumPy, ml_dtypes, ONNX and TensorRT say of the same types."""

from __future__ import annotations

from itertools import pairwise

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from fast_timesformer.finetune import settings as training
from ftsf_export.engine.targets import CAPABILITIES
from ftsf_export.errors import ConfigError
from ftsf_export.precision import HALVES, PRECISIONS, Precision, offered, precision_named

ROWS = pytest.mark.parametrize("row", PRECISIONS.values(), ids=PRECISIONS)


@ROWS
def test_the_names_of_a_type_are_of_one_type(row: Precision) -> None:
    assert ir.DataType[row.onnx].numpy() == np.dtype(row.element)
    assert np.dtype(row.element).itemsize * 8 == row.bits


@ROWS
def test_the_unit_roundoff_is_half_of_the_distance_to_the_next_number(row: Precision) -> None:
    kind = np.dtype(row.element)
    if kind.kind == "i":
        assert row.unit_roundoff == 0.5 / np.iinfo(kind).max
    else:
        assert row.unit_roundoff == float(ml_dtypes.finfo(kind).eps) / 2
    assert row.tie == (0.3 if row.name == "int8" else 4 * row.unit_roundoff)


def test_tensorrt_knows_the_types_by_the_names_of_the_table() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="the names are TensorRT's")
    assert {row.engine for row in PRECISIONS.values()} <= set(trt.DataType.__members__)


@ROWS
def test_a_gpu_that_knows_a_type_is_in_the_table_of_targets(row: Precision) -> None:
    assert row.since in CAPABILITIES


def test_the_coarser_the_type_the_wider_its_limits() -> None:
    rows = sorted((PRECISIONS[name] for name in offered()), key=lambda row: row.unit_roundoff)
    assert [row.name for row in rows] == ["fp32", "fp16", "bf16", "int8"]
    for finer, coarser in pairwise(rows):
        assert finer.judged.rel_l2 < coarser.judged.rel_l2
    # What 8 bits have to agree on is a promise of its own.
    for finer, coarser in pairwise(row for row in rows if row.bits > 8):
        assert finer.judged.least_top1 > coarser.judged.least_top1


def test_training_takes_fp32_and_the_halves_of_the_table() -> None:
    assert set(training.PRECISIONS) == {"fp32", *HALVES}
    for name, kind in training.PRECISIONS.items():
        assert (kind or "float32") == PRECISIONS[name].element


def test_an_unknown_precision_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="expected one of fp32, fp16, bf16, int8, fp8, got 'fp64'"):
        precision_named("fp64")
