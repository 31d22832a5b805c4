"""The grid of a sweep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ftsf_export.bench.request import BenchRequest
from ftsf_export.bench.sweep import Cell, cells_of
from ftsf_export.errors import ConfigError

SMALL = {"dim": 64, "depth": 2}


def grid(others: dict[str, Any] | None = None, **axes: Any) -> tuple[Cell, ...]:
    return cells_of(axes, others or SMALL, target="", bench=None, made_by="1")


def test_every_combination_once_in_a_fixed_order() -> None:
    cells = grid(attn=("regular", "fastformer"), size=("32", "64"), batch=("1", "1:2:4"))
    assert [cell.name for cell in cells] == [
        f"{attn}-divided-8x{size}-b{batch}-fp16"
        for attn in ("regular", "fastformer") for batch in ("1", "1to2to4") for size in (32, 64)
    ]  # fmt: skip
    assert (cells[3].config.attn, str(cells[3].config.batch), cells[3].config.dim) == ("regular", "1:2:4", 64)
    # A value twice is one value.
    assert len(grid(attn=("regular", "regular"))) == 1


def test_nothing_given_is_the_default_alone() -> None:
    assert [cell.name for cell in grid()] == ["fastformer-divided-8x224-b1-fp16"]


def test_a_checkpoint_stands_for_what_was_not_written(tmp_path: Path) -> None:
    cells = grid({}, checkpoint=(tmp_path / "a.pyth", tmp_path / "b.pyth"), precision=("fp16", "bf16"))
    assert [cell.name for cell in cells] == ["a.pyth-b1-fp16", "a.pyth-b1-bf16", "b.pyth-b1-fp16", "b.pyth-b1-bf16"]
    assert "attn" not in cells[0].config.given


def test_all_that_is_wrong_anywhere_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        grid(attn=("regular", "linear"), size=("32", "50"), precision=("fp7",))
    said = error.value.message
    assert "linear" in said
    assert "50" in said
    assert said.count("fp7") == 1


def test_the_same_cell_twice_under_two_names_is_refused() -> None:
    with pytest.raises(ConfigError, match="two cells of the grid are the same"):
        grid(size=("32", "32x32"))


def test_a_grid_beyond_reason_is_refused() -> None:
    with pytest.raises(ConfigError, match="1100 cells"):
        grid(frames=tuple(range(1, 1101)))


def test_whatever_decides_the_result_decides_the_fingerprint(tmp_path: Path) -> None:
    weights = tmp_path / "a.safetensors"
    weights.write_bytes(b"one")

    def one(target: str = "", bench: BenchRequest | None = None, made_by: str = "1", **others: Any) -> str:
        return cells_of({"checkpoint": (weights,)}, others, target=target, bench=bench, made_by=made_by)[0].fingerprint

    first = one()
    assert one() == first
    others = [one(target="rtx-40"), one(bench=BenchRequest(runner="onnxruntime")), one(seed=3), one(made_by="2")]
    weights.write_bytes(b"two")
    os.utime(weights, ns=(1, 1))
    assert len({first, *others, one()}) == 6
