"""One engine, two timings: CUDA graphs off and on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ftsf_export.bench.cuda import Cuda
from ftsf_export.bench.engine_timing import time_engine
from ftsf_export.bench.sampling import Schedule
from ftsf_export.errors import RunError
from ftsf_export.timing import TimedFile, Timing

CLIP = np.ones((2, 3, 4), np.float32)
SCHEDULE = Schedule(iterations=5, seconds=0.0, warmup=1, warmup_seconds=0.0)


def time_it(engine: Any, subject: TimedFile, clock: Any, **changes: Any) -> tuple[Timing, ...]:
    def read_clock() -> int:
        clock.pass_ms(1.5)
        return int(clock())

    arguments: dict[str, Any] = {"shapes": {"logits": (2, 3)}, "monitor": None, **changes}
    return time_engine(
        engine,
        {"clip": CLIP},
        subject=replace(subject, heading="NVIDIA L4", on_gpu=True),
        runtime="TensorRT 11.1.0",
        schedule=SCHEDULE,
        cuda=Cuda(engine.cudart),
        clock_ns=read_clock,
        **arguments,
    )


def test_graphs_off_and_on(engine: Any, subject: TimedFile, clock: Any) -> None:
    off, on = time_it(engine, subject, clock)
    assert (off.heading, on.heading) == ("NVIDIA L4 (TensorRT 11.1.0)", "NVIDIA L4 (TensorRT 11.1.0, CUDA graph)")
    assert off.subject.conditions == {
        "provider": "CPUExecutionProvider",
        "CUDA graph": "off",
        "host memory": "pinned",
        "kernels": "as the engine holds them",
    }
    assert on.subject.conditions["CUDA graph"] == "stream captured"
    for timing in (off, on):
        assert timing.latency.count == 5
        assert timing.latency.p50_ms == 1.5  # the clock is read once before and once after a call
        assert timing.device is not None
        assert timing.device.p50_ms == pytest.approx(2.0)
        assert any("no NVML" in note for note in timing.subject.notes)
    assert engine.cudart.live == {}


def test_a_run_that_cannot_be_captured_is_a_note(engine: Any, subject: TimedFile, clock: Any) -> None:
    engine.refuses_capture = True
    (timing,) = time_it(engine, subject, clock)
    assert timing.heading == "NVIDIA L4 (TensorRT 11.1.0)"
    assert timing.subject.notes[-1].startswith("not measured with a CUDA graph: engine: the run could not be enqueued")


def test_outputs_that_are_not_finite_are_not_timed(engine: Any, subject: TimedFile, clock: Any) -> None:
    engine.scale = float("nan")
    with pytest.raises(RunError, match=r"logits is nan at \[0, 0\]; not timed"):
        time_it(engine, subject, clock)


def test_wrong_outputs_under_a_graph_are_an_error_not_a_note(
    engine: Any, subject: TimedFile, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_launch = type(engine.cudart)._cudaGraphLaunch

    def launch(self: Any, executable: Any, stream: Any) -> None:
        engine.scale = float("inf")
        plain_launch(self, executable, stream)

    monkeypatch.setattr(type(engine.cudart), "_cudaGraphLaunch", launch)
    with pytest.raises(RunError, match="not timed"):
        time_it(engine, subject, clock)


def test_outputs_of_another_shape_are_not_timed(engine: Any, subject: TimedFile, clock: Any) -> None:
    with pytest.raises(RunError, match=r"expected shape \(2, 400\), got \(2, 3\)"):
        time_it(engine, subject, clock, shapes={"logits": (2, 400)})


def test_the_monitor_is_read_between_calls_and_starts_anew(engine: Any, subject: TimedFile, clock: Any) -> None:
    class Monitor:
        said: list[str] = []

        def restart(self) -> None:
            self.said.append("restart")

        def tick(self) -> None:
            self.said.append("tick")

        def trace(self) -> None:
            self.said.append("trace")

    off, on = time_it(engine, subject, clock, monitor=Monitor())
    assert Monitor.said == ["restart", *["tick"] * 5, "trace"] * 2
    assert not any("NVML" in note for timing in (off, on) for note in timing.subject.notes)
