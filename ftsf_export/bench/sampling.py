"""Call something again and again under a clock, until there is enough evidence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fast_timesformer.rules import NOT_NEGATIVE, whole, wrong_fields
from ftsf_export.errors import ConfigError, RunError

# One call from inputs in host memory to outputs in host memory. Returns the milliseconds that the device itself
# measured for the computation alone, or None where there is no such clock.
Call = Callable[[], float | None]
Clock = Callable[[], int]
Tick = Callable[[], None]

_RULES = {
    **dict.fromkeys(("iterations", "warmup"), whole(1, of="calls")),
    **dict.fromkeys(("seconds", "warmup_seconds"), NOT_NEGATIVE),
}
_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When there are enough samples, and when warm-up ends. Raises ConfigError with every bad field.

    Warm-up is for what happens once: lazy allocation, kernels compiled at their first use, clocks that ramp up.
    """

    iterations: int = 10  #: Timed calls, at least.
    seconds: float = 3.0  #: Of timed calls, at least.
    warmup: int = 3  #: Calls before the first timed one, at least.
    warmup_seconds: float = 0.5  #: Of calls before the first timed one, at least.

    def __post_init__(self) -> None:
        problems = [f"{name}: {said}" for name, said in wrong_fields(self, _RULES)]
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What the clock said."""

    warmup_iterations: int  #: Calls before the first timed one.
    latency_ms: tuple[float, ...]  #: One a timed call, in milliseconds.
    device_ms: tuple[float, ...] | None  #: The same by the device's own clock, as many; None where it has none.
    elapsed_s: float  #: Seconds from the first timed call to the end of the last, with what happened between calls.


def collect(
    call: Call, schedule: Schedule, *, clock_ns: Clock = time.perf_counter_ns, tick: Tick | None = None
) -> Samples:
    """Warm up, then time calls one at a time until both limits of the schedule are reached.

    ``tick`` runs between timed calls, outside the timed part (the state of the GPU is read there).
    Raises RunError when the clock is too coarse to see the calls at all.
    """
    warmup_iterations = _repeat(call, schedule.warmup, schedule.warmup_seconds, clock_ns)
    latencies_ns: list[int] = []
    devices_ms: list[float | None] = []
    first = clock_ns()
    while True:
        if tick is not None:
            tick()
        start = clock_ns()
        device_ms = call()
        end = clock_ns()
        latencies_ns.append(end - start)
        devices_ms.append(device_ms)
        if len(latencies_ns) >= schedule.iterations and end - first >= schedule.seconds * _NS_PER_S:
            break
    if sum(latencies_ns) <= 0:
        raise RunError(f"timing: {len(latencies_ns)} calls took no time by this clock: it is too coarse")
    return Samples(
        warmup_iterations=warmup_iterations,
        latency_ms=tuple(ns / _NS_PER_MS for ns in latencies_ns),
        device_ms=_all_or_none(devices_ms),
        elapsed_s=(end - first) / _NS_PER_S,
    )


def _repeat(call: Call, iterations: int, seconds: float, clock_ns: Clock) -> int:
    start = clock_ns()
    done = 0
    while done < iterations or clock_ns() - start < seconds * _NS_PER_S:
        call()
        done += 1
    return done


def _all_or_none(values: list[float | None]) -> tuple[float, ...] | None:
    known = tuple(value for value in values if value is not None)
    if known and len(known) != len(values):
        raise RunError(f"timing: the device's clock answered for {len(known)} of {len(values)} calls")
    return known or None
