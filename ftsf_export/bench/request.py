"""What to measure: one frozen value, every wrong field reported at once."""

from __future__ import annotations

from dataclasses import dataclass

from fast_timesformer.rules import POSITIVE, choice, optional, whole, wrong_fields
from ftsf_export.bench.sampling import Schedule
from ftsf_export.config import RUNNERS
from ftsf_export.errors import ConfigError

_RULES = {
    "runner": choice(*RUNNERS),
    **dict.fromkeys(("batch", "threads"), optional(whole(1))),
    "source_fps": POSITIVE,
}


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """What to measure. Raises ConfigError with every bad field."""

    runner: str = "auto"  #: One of RUNNERS.
    batch: int | None = None  #: Clips a call; None: the bundle's usual number.
    threads: int | None = None  #: Of ONNX Runtime, in one operator; None: its own choice.
    source_fps: float = 30.0  #: Frames a second of the videos that clips are cut from.
    seconds: float = Schedule.seconds  #: The least time of the timed calls.
    iterations: int = Schedule.iterations  #: The least number of timed calls.
    warmup: int = Schedule.warmup  #: The least number of calls before them.
    #: Whether the graph's first call may take no more time and memory than a model of its size does, many times over;
    #: False is for a bundle that is trusted.
    limited: bool = True

    def __post_init__(self) -> None:
        problems = [f"{name}: {said}" for name, said in wrong_fields(self, _RULES)]
        try:
            self.schedule()
        except ConfigError as error:
            problems.extend(error.problems)
        if problems:
            raise ConfigError(problems)

    def schedule(self) -> Schedule:
        return Schedule(seconds=self.seconds, iterations=self.iterations, warmup=self.warmup)
