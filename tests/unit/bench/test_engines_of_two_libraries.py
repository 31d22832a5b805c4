"""A bundle with engines of two libraries, of which one is not on the machine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ftsf_export.bench.sampling import Samples
from ftsf_export.bench.statistics import timing_from_samples
from ftsf_export.errors import EnvironmentLacks
from ftsf_export.pipeline import bench
from ftsf_export.timing import TimedFile

ENGINES = tuple(SimpleNamespace(file=f"engines/{name}.engine", builder=name) for name in ("tensorrt", "rtx"))


def measured(monkeypatch: pytest.MonkeyPatch, subject: TimedFile, *there: str) -> Any:
    timing = timing_from_samples(
        subject, Samples(warmup_iterations=1, elapsed_s=0.1, latency_ms=[1.0] * 100, device_ms=None)
    )

    def time_engine(_bundle: Any, entry: Any, *_: Any) -> Any:
        if entry.builder not in there:
            raise EnvironmentLacks(f"{entry.builder} is not installed", install="pip install it")
        return (timing,)

    monkeypatch.setattr(bench, "_time_engine", time_engine)
    gpu: Any = None
    return bench._time_engines(gpu, ENGINES, gpu, gpu, 1, lambda *_: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("there", ["tensorrt", "rtx"])
def test_the_engine_of_the_library_that_is_here_is_measured(
    monkeypatch: pytest.MonkeyPatch, subject: TimedFile, there: str
) -> None:
    (timing,) = measured(monkeypatch, subject, there)
    (note,) = (one for one in timing.subject.notes if "was not measured" in one)
    (other,) = {"tensorrt", "rtx"} - {there}
    assert f"engines/{other}.engine was not measured: {other} is not installed" in note


def test_all_of_them_are_measured_without_a_note(monkeypatch: pytest.MonkeyPatch, subject: TimedFile) -> None:
    timings = measured(monkeypatch, subject, "tensorrt", "rtx")
    assert [timing.subject.notes for timing in timings] == [subject.notes] * 2


def test_no_library_at_all_is_a_lack(monkeypatch: pytest.MonkeyPatch, subject: TimedFile) -> None:
    with pytest.raises(EnvironmentLacks, match="tensorrt is not installed"):
        measured(monkeypatch, subject)
