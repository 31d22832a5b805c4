"""Models in PyTorch as a GPU would run them, on the CPU: what is told, and when FP32 is far from FP32."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ftsf_export.errors import EnvironmentLacks
from ftsf_export.gpu_day import eager
from ftsf_export.process.channel import Message

MODEL = {"frames": 2, "channels": 3, "height": 32, "width": 32, "dim": 64, "depth": 1, "num_classes": 5}


class Event:
    """Two milliseconds apart."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        pass

    def elapsed_time(self, _: Event) -> float:
        return 2.0


def told(monkeypatch: pytest.MonkeyPatch, precision: str) -> list[dict[str, Any]]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    # A compiler of C++ takes a minute for this model; what is compiled computes the same.
    monkeypatch.setattr(torch, "compile", lambda model: model)
    monkeypatch.setattr(eager, "_DEVICE", "cpu")
    monkeypatch.setattr(torch.profiler.ProfilerActivity, "CUDA", torch.profiler.ProfilerActivity.CPU)
    rows: list[dict[str, Any]] = []
    eager.models(Message({"attn": "regular", "precision": precision, "model": MODEL, "repeats": 2}), rows.append)
    return rows


def test_each_way_is_timed_and_fp32_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = told(monkeypatch, "fp32")
    assert [(row["how"], row["right"], row["ms"]) for row in rows] == [
        ("eager", True, 2.0),
        ("torch.compile", True, 2.0),
    ]
    monkeypatch.setattr(eager, "_distance", lambda *_: 2e-4)
    assert [row["right"] for row in told(monkeypatch, "fp32")] == [False, False]
    monkeypatch.setattr(eager, "_distance", lambda *_: None)
    assert [row["right"] for row in told(monkeypatch, "fp32")] == [False, False]


def test_half_precision_is_told_and_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    row, _ = told(monkeypatch, "bf16")
    assert row["right"] is None
    assert 1e-5 < row["error"] < 1e-1


def test_a_build_of_pytorch_without_cuda_is_said() -> None:
    if torch.cuda.is_available():
        pytest.skip("this PyTorch has a GPU")
    with pytest.raises(EnvironmentLacks, match="finds no GPU; install a build of PyTorch for CUDA"):
        eager.models(Message(None), lambda _: None)
