"""An export that cannot fit is refused before it starts: with the estimate, what is free, and what to change."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError
from ftsf_export.pipeline import room
from ftsf_export.pipeline.resolve import resolve_export
from ftsf_export.pipeline.room import export_needs, free_memory_bytes

HUGE = 10**30


def refusal(tmp_path: Path, **fields: object) -> str:
    begun = time.monotonic()
    with pytest.raises(UsageError) as refused:
        resolve_export(ExportConfig(builder="none", **fields), output=tmp_path / "made")
    assert time.monotonic() - begun < 5
    return refused.value.message


@pytest.mark.parametrize(
    ("fields", "lever"),
    [
        ({"dim": 100_000, "heads": 100, "dim_head": 1000}, "--dim"),
        ({"num_classes": 1_000_000_000}, "--num-classes"),
        ({"batch": 65_535}, "--batch"),
        ({"frames": 100_000}, "--frames"),
        ({"frames": HUGE}, "--frames"),
        ({"channels": HUGE}, "--frames"),
        ({"num_classes": HUGE}, "--num-classes"),
        ({"dim": HUGE, "dim_head": 10**29, "heads": 10}, "--dim"),
        ({"attn": "regular", "heads": HUGE}, "--dim"),
        ({"attn": "regular", "heads": 1, "dim_head": 4 * HUGE}, "--dim"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_lever(tmp_path: Path, fields: dict[str, int], lever: str) -> None:
    said = refusal(tmp_path, **fields)
    assert said.startswith("memory: the export needs at least ")
    assert " are free; free some, or take a smaller " in said
    assert lever in said.split(" are free; ")[1]


@pytest.mark.parametrize("depth", [10_000, HUGE])
def test_a_graph_that_is_never_traced_to_its_end_is_refused(tmp_path: Path, depth: int) -> None:
    said = refusal(tmp_path, depth=depth, dim=64)
    assert said.endswith("one of at most 42000 is traced; take --depth 300 or less")


def test_the_usual_models_fit_and_the_limit_is_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ExportConfig(builder="none")
    needs = export_needs(config.architecture, 1)
    assert 200 << 20 < needs.memory_bytes < 2 << 30
    monkeypatch.setattr(room, "free_memory_bytes", lambda: needs.memory_bytes)
    resolve_export(config, output=tmp_path / "made")
    monkeypatch.setattr(room, "free_memory_bytes", lambda: needs.memory_bytes - 1)
    assert "memory: the export needs" in refusal(tmp_path)


def test_the_estimate_counts_the_parameters_of_the_model() -> None:
    from fast_timesformer.model import FastTimeSformer

    for attention in ("divided", "joint"):
        config = ExportConfig(attn="regular", attn_type=attention, dim=64, depth=3, frames=2, size="32").architecture
        true = sum(parameter.numel() for parameter in FastTimeSformer(**config.as_dict()).parameters())
        assert export_needs(config, 1).weight_bytes == pytest.approx(16 * true, rel=0.05)


def test_what_is_free_is_no_more_than_the_machine_has() -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    free = free_memory_bytes()
    assert free is not None
    assert 0 < free <= total
