"""Any runner, on a clock that goes as told; and what its outputs must be before it is timed."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from polygraphy.backend.base import BaseRunner

from ftsf_export.bench.measurement import time_calls
from ftsf_export.bench.outputs import batch_of_clips, check_outputs
from ftsf_export.bench.sampling import Schedule
from ftsf_export.errors import RunError
from ftsf_export.timing import TimedFile

FEED = {"clip": np.zeros((2, 3), np.float32)}


class SlowRunner(BaseRunner):  # type: ignore[misc]
    """Takes a set time a call, and is told what to give."""

    def __init__(self, clock: Any, outputs: dict[str, Any]) -> None:
        super().__init__(name="slow")
        self.clock = clock
        self.outputs = outputs
        self.log: list[str] = []

    def activate_impl(self) -> None:
        self.clock.pass_ms(5000)
        self.log.append("activated")

    def deactivate_impl(self) -> None:
        self.log.append("deactivated")

    def infer(self, _feed: Any, check_inputs: bool = True, *_args: Any, **_kwargs: Any) -> Any:
        self.clock.pass_ms(400 if check_inputs else 20)
        self.log.append("checked" if check_inputs else "timed")
        return OrderedDict(self.outputs)


def test_loading_and_the_first_call_are_not_in_the_figures(clock: Any, subject: TimedFile) -> None:
    runner = SlowRunner(clock, {"logits": np.ones((2, 5), np.float32)})
    schedule = Schedule(iterations=10, seconds=0.1, warmup=3, warmup_seconds=0.0)
    with runner:
        runner.infer(FEED)
        timing = time_calls(runner, FEED, subject, schedule, clock_ns=clock)
    assert (timing.latency.min_ms, timing.latency.max_ms, timing.latency.count) == (20.0, 20.0, 10)
    assert timing.clips_per_s == pytest.approx(100.0)
    assert timing.video_s_per_s == pytest.approx(400.0)
    assert (timing.device, timing.gpu) == (None, None)
    assert runner.log == ["activated", "checked", *["timed"] * 13, "deactivated"]


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({}, r"expected outputs \['logits'\], got \[\]"),
        ({"scores": np.ones((1, 2))}, r"got \['scores'\]"),
        ({"logits": np.ones((1, 3))}, r"expected shape \(1, 2\), got \(1, 3\)"),
        ({"logits": np.array([[1.0, np.inf]])}, r"logits is inf at \[0, 1\]"),
    ],
)
def test_outputs_that_are_refused(outputs: dict[str, Any], words: str) -> None:
    with pytest.raises(RunError, match=words):
        check_outputs(outputs, {"logits": (1, 2)}, "model.onnx")


def test_expecting_nothing_is_refused() -> None:
    with pytest.raises(RunError, match="expected outputs"):
        check_outputs({}, {}, "model.onnx")


def test_a_batch_repeats_the_clips_in_order() -> None:
    clips = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(batch_of_clips(clips, 2), clips[:2])
    np.testing.assert_array_equal(batch_of_clips(clips, 7), clips[[0, 1, 2, 0, 1, 2, 0]])
    assert batch_of_clips(np.asfortranarray(clips), 3).flags.c_contiguous
