"""An engine at each batch, in every slot, twice: a fault in one place alone fails the gate, which names the place."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata

from ftsf_export.bundle.golden import Golden
from ftsf_export.config import BatchRange
from ftsf_export.network.gates import parity_engine
from ftsf_export.parity.every_slot import calls_of, judge_every_slot
from ftsf_export.parity.judge import Limits
from ftsf_export.precision import precision_named
from ftsf_export.verdict import Status, Subject, Verdict

N, CLASSES = 3, 10
SEVERAL = BatchRange(1, 2, 4)
Fault = Callable[[np.ndarray, int, int], np.ndarray]


@pytest.fixture
def golden() -> Golden:
    draw = np.random.default_rng(0)
    clip = draw.normal(size=(N, 2, 3, 4, 4)).astype(np.float32)
    return Golden(clip=clip, logits=draw.normal(size=(N, CLASSES)).astype(np.float32), sources=("noise",) * N, taps={})


class Engine(BaseRunner):  # type: ignore[misc]
    """Finds each slot's clip among the reference clips and gives its logits, changed by a fault of (logits, the
    number of runs at this batch before, batch)."""

    def __init__(self, golden: Golden, fault: Fault) -> None:
        super().__init__(prefix="engine")
        self.golden, self.fault = golden, fault
        self.sizes: list[int] = []
        self.activations = 0

    def activate_impl(self) -> None:
        self.activations += 1

    def get_input_metadata_impl(self) -> Any:
        return TensorMetadata().add("clip", np.float32, (None, *self.golden.clip.shape[1:]))

    def infer_impl(self, feed_dict: dict[str, np.ndarray]) -> OrderedDict[str, np.ndarray]:
        self.inference_time = 0.0
        found = [int(np.flatnonzero((self.golden.clip == one).all((1, 2, 3, 4)))[0]) for one in feed_dict["clip"]]
        logits, size = self.golden.logits[found].copy(), len(found)
        self.sizes.append(size)
        return OrderedDict(logits=self.fault(logits, self.sizes.count(size) - 1, size))


def judged(golden: Golden, fault: Fault = lambda logits, *_: logits, batch: BatchRange = SEVERAL) -> Verdict:
    engine = Engine(golden, fault)
    gate, subject = parity_engine("tensorrt", "l4"), Subject("engines/tensorrt-l4-fp16.engine", "0" * 64)
    limits = Limits.for_precision(precision_named("fp16"))
    verdict = judge_every_slot(engine, golden, gate=gate, subject=subject, limits=limits, batch=batch)
    assert engine.activations == 1
    return verdict


def off(at: Callable[[int, int], list[int]]) -> Fault:
    """Logits of the slots that ``at`` gives for a run and a batch are a tenth too large."""

    def fault(logits: np.ndarray, run: int, size: int) -> np.ndarray:
        logits[at(run, size)] *= np.float32(1.1)
        return logits

    return fault


def test_every_clip_is_in_every_call_size_and_each_slot_holds_another_the_second_time() -> None:
    calls = calls_of(N, SEVERAL)
    assert [len(call.clips) for call in calls] == [1, 1, 1, 2, 2, 4] * 2
    for time in (0, 1):
        for size in SEVERAL.sizes:
            assert {c for call in calls if call.time == time and len(call.clips) == size for c in call.clips} == {
                0,
                1,
                2,
            }
    half = len(calls) // 2
    assert all(
        mine != theirs
        for one, other in zip(calls[:half], calls[half:], strict=True)
        for mine, theirs in zip(one.clips, other.clips, strict=True)
    )


def test_an_engine_that_is_right_passes_and_says_at_which_batches(golden: Golden) -> None:
    verdict = judged(golden)
    assert verdict.passed
    assert verdict.conditions == "batch 1, 2 and 4, every slot, twice on one context"
    each = {m.output: m.limit for m in verdict.measures if m.output.startswith("logits at")}
    assert each == {f"logits at batch {size}": 1e-2 for size in (1, 2, 4)}


@pytest.mark.parametrize(
    ("fault", "batch", "place"),
    [
        (off(lambda _, size: [3] if size == 4 else []), 4, "clip 0 in slot 3 of 4, run 1"),
        (off(lambda run, size: [0] if size == 1 and run == 0 else []), 1, "clip 0 in slot 0 of 1, run 1"),
        (off(lambda run, size: [1] if size == 4 and run == 1 else []), 4, "clip 2 in slot 1 of 4, run 2"),
        (lambda logits, _, size: logits[::-1] if size == 2 else logits, 2, "of 2, run 1"),
        (lambda logits, _, size: logits * np.float32(np.nan if size == 4 else 1), 4, "of 4, run 1"),
    ],
)
def test_a_fault_in_one_place_alone_fails_and_is_placed(golden: Golden, fault: Fault, batch: int, place: str) -> None:
    verdict = judged(golden, fault)
    assert verdict.status is Status.FAILED
    assert place in verdict.reason
    wrong = [m.output for m in verdict.measures if m.output.startswith("logits at") and not m.passed]
    assert wrong == [f"logits at batch {batch}"]


def test_a_batch_of_another_shape_fails(golden: Golden) -> None:
    verdict = judged(golden, lambda logits, _, size: logits[:-1] if size == 4 else logits)
    assert verdict.status is Status.FAILED
    assert "expected 4 clips" in verdict.reason


def test_one_batch_is_run_twice_as_well(golden: Golden) -> None:
    one = BatchRange(2, 2, 2)
    assert judged(golden, batch=one).conditions == "batch 2, every slot, twice on one context"
    second = judged(golden, off(lambda run, _: [1] if run > 1 else []), one)
    assert second.status is Status.FAILED
    assert "run 2" in second.reason


def test_a_reference_that_cannot_tell_its_clips_apart_proves_nothing(golden: Golden) -> None:
    alike = Golden(clip=golden.clip, logits=np.ones((N, CLASSES), np.float32), sources=golden.sources, taps={})
    verdict = judged(alike)
    assert verdict.status is Status.FAILED
    assert "answers its 3 clips alike" in verdict.reason


def test_features_are_judged_at_every_batch_beside_the_logits(golden: Golden) -> None:
    both = replace(golden, features=golden.clip.reshape(N, -1)[:, :5].copy())

    class Both(Engine):
        def infer_impl(self, feed_dict: dict[str, np.ndarray]) -> OrderedDict[str, np.ndarray]:
            features = feed_dict["clip"].reshape(len(feed_dict["clip"]), -1)[:, :5].copy()
            return OrderedDict(**super().infer_impl(feed_dict), features=self.fault(features, 0, len(features)))

    gate, subject = parity_engine("tensorrt", "l4"), Subject("engines/tensorrt-l4-fp16.engine", "0" * 64)
    limits = Limits.for_precision(precision_named("fp16"))
    for fault, wrong in (
        (off(lambda *_: []), []),
        (off(lambda _, size: [3] if size == 4 else []), ["logits", "features"]),
    ):
        verdict = judge_every_slot(Both(both, fault), both, gate=gate, subject=subject, limits=limits, batch=SEVERAL)
        each = {m.output: m.passed for m in verdict.measures if " at batch " in m.output}
        assert len(each) == 6
        assert [output for output, passed in each.items() if not passed] == [f"{name} at batch 4" for name in wrong]
