"""Which way a bundle is run, and what happens where a way does not work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ftsf_export.bundle import EngineEntry
from ftsf_export.config import BatchRange
from ftsf_export.pipeline.classifier import Classifier, ways
from ftsf_export.runners.driver import Gpu
from tests.unit.manifests import small_manifest

L4 = Gpu(name="NVIDIA L4", capability="8.9", memory_bytes=1, driver_version="580", cuda_version="13.0")


def engine(builder: str, *capabilities: str) -> EngineEntry:
    stem = f"engines/{builder}-x-fp16"
    return EngineEntry(
        file=f"{stem}.engine", sidecar=f"{stem}.json", builder=builder, target="x", precision="fp16",
        compute_capabilities=capabilities, sha256="0" * 64,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("runner", "gpu", "expected"),
    [
        ("auto", L4, ["tensorrt", "rtx", "onnxruntime-cuda", "onnxruntime-cpu"]),
        ("auto", None, ["onnxruntime-cpu"]),
        ("auto", replace(L4, capability="12.0"), ["rtx", "onnxruntime-cuda", "onnxruntime-cpu"]),
        ("onnxruntime", L4, ["onnxruntime-cuda", "onnxruntime-cpu"]),
        ("onnxruntime", None, ["onnxruntime-cpu"]),
        ("rtx", L4, ["rtx"]),
        ("tensorrt", replace(L4, capability="12.0"), []),
    ],
)
def test_the_best_way_comes_first(runner: str, gpu: Gpu | None, expected: list[str]) -> None:
    engines = (engine("rtx", "8.6", "8.9", "12.0"), engine("tensorrt", "8.9"))
    assert [way.name for way in ways(replace(small_manifest(), engines=engines), runner, gpu)] == expected


class Sums:
    """A model of three classes: the sum of a clip, and twice and thrice of it."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def infer(self, feed: dict[str, Any], check_inputs: bool) -> dict[str, Any]:
        assert check_inputs is False
        clips = feed["clip"]
        assert clips.dtype == np.float32
        self.calls.append(len(clips))
        return {"logits": clips.reshape(len(clips), -1).sum(axis=1)[:, None] * [1, 2, 3]}


def test_a_call_is_filled_up_to_the_least_number() -> None:
    runner = Sums()
    classifier = Classifier("x", BatchRange(4, 4, 8), (), "clip", "float32", runner)
    clips = np.arange(3, dtype=np.float64).reshape(3, 1)
    np.testing.assert_array_equal(classifier.logits(clips), clips * [1, 2, 3])
    assert classifier.logits(np.ones((8, 2))).shape == (8, 3)
    assert runner.calls == [4, 8]
