"""The stopping rule and the timed part, on a clock that goes as told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ftsf_export.bench.sampling import Samples, Schedule, collect
from ftsf_export.errors import ConfigError, RunError

NO_WARMUP = {"warmup": 1, "warmup_seconds": 0.0}


def run(clock: Any, schedule: Schedule, call_ms: Callable[[int], float], tick_ms: float = 0.0) -> Samples:
    """Call number n, warm-up included, takes ``call_ms(n)``."""
    calls = iter(range(10**9))

    def call() -> None:
        clock.pass_ms(call_ms(next(calls)))

    return collect(call, schedule, clock_ns=clock, tick=lambda: clock.pass_ms(tick_ms))


def test_stops_at_the_call_that_reaches_the_time(clock: Any) -> None:
    samples = run(clock, Schedule(iterations=10, seconds=3.0, **NO_WARMUP), lambda _n: 70.0)
    assert len(samples.latency_ms) == 43  # 42 calls are 2.94 s, 43 are 3.01 s
    assert set(samples.latency_ms) == {70.0}
    assert samples.elapsed_s == pytest.approx(3.01)


def test_slow_calls_still_come_in_the_number_asked_for(clock: Any) -> None:
    samples = run(clock, Schedule(iterations=10, seconds=3.0, **NO_WARMUP), lambda _n: 2000.0)
    assert len(samples.latency_ms) == 10
    assert samples.elapsed_s == pytest.approx(20.0)


def test_time_reached_exactly_is_enough(clock: Any) -> None:
    assert len(run(clock, Schedule(iterations=1, seconds=1.0, **NO_WARMUP), lambda _n: 250.0).latency_ms) == 4


def test_warm_up_takes_both_its_limits_and_is_not_measured(clock: Any) -> None:
    by_time = run(clock, Schedule(iterations=1, seconds=0.0, warmup=3, warmup_seconds=0.5), lambda _n: 100.0)
    assert by_time.warmup_iterations == 5
    by_count = run(
        clock,
        Schedule(iterations=4, seconds=0.0, warmup=3, warmup_seconds=0.5),
        lambda n: 900.0 if n < 3 else 10.0,
    )
    assert by_count.warmup_iterations == 3
    assert by_count.latency_ms == (10.0,) * 4


def test_order_of_samples_is_kept(clock: Any) -> None:
    samples = run(clock, Schedule(iterations=4, seconds=0.0, **NO_WARMUP), lambda n: 10.0 * n)
    assert samples.latency_ms == (10.0, 20.0, 30.0, 40.0)


def test_what_happens_between_calls_is_not_in_the_latency(clock: Any) -> None:
    samples = run(clock, Schedule(iterations=5, seconds=0.0, **NO_WARMUP), lambda _n: 10.0, tick_ms=90.0)
    assert samples.latency_ms == (10.0,) * 5
    assert samples.elapsed_s == pytest.approx(0.5)


def test_device_times_are_paired_with_calls(clock: Any) -> None:
    def call() -> float:
        clock.pass_ms(5)
        return 3.25

    samples = collect(call, Schedule(iterations=3, seconds=0.0, **NO_WARMUP), clock_ns=clock)
    assert samples.device_ms == (3.25,) * 3


def test_a_device_clock_that_answers_now_and_then_is_refused(clock: Any) -> None:
    answers = iter([None, 1.0, None, 1.0])

    def call() -> float | None:
        clock.pass_ms(5)
        return next(answers)

    with pytest.raises(RunError, match="answered for 2 of 3 calls"):
        collect(call, Schedule(iterations=3, seconds=0.0, **NO_WARMUP), clock_ns=clock)


def test_a_clock_that_sees_nothing_is_refused(clock: Any) -> None:
    with pytest.raises(RunError, match="too coarse"):
        run(clock, Schedule(iterations=10, seconds=0.0, **NO_WARMUP), lambda _n: 0.0)


def test_an_error_in_a_call_comes_through(clock: Any) -> None:
    def call() -> None:
        raise RunError("kernel failed")

    with pytest.raises(RunError, match="kernel failed"):
        collect(call, Schedule(), clock_ns=clock)


def test_defaults_are_those_of_the_product() -> None:
    assert (Schedule.iterations, Schedule.seconds) == (10, 3.0)


def test_every_bad_field_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Schedule(iterations=0, seconds=float("nan"), warmup=True, warmup_seconds=-1.0)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "iterations",
        "warmup",
        "seconds",
        "warmup_seconds",
    ]
