"""One measurement, made in a process of its own.

Then its peak memory is that of the measurement alone, no other library's threads compete with it, and a runtime that
aborts takes nothing else with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ftsf_export.bench.outputs import Array, Shapes
from ftsf_export.bench.sampling import Schedule
from ftsf_export.bench.timing import TimedFile, Timing
from ftsf_export.errors import RunError
from ftsf_export.process.parent import run_in_child
from ftsf_export.strict_json import plain, structured

BACKENDS = ("onnxruntime", "tensorrt", "rtx")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What to run and how to sum it up.

    Attributes:
        backend: one of BACKENDS.
        file: the ONNX file or the engine.
        shapes: output name -> shape that must come out.
        subject: what the timing is about. For an engine the heading is the GPU's name; who measures, and loads the
            library, adds its name and version.
        schedule: how long to measure.
        threads: of ONNX Runtime; None: its own choice.
    """

    backend: str
    file: Path
    shapes: Shapes
    subject: TimedFile
    schedule: Schedule
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {self.backend!r}")


def measure_in_child(measurement: Measurement, feed: Mapping[str, Array]) -> tuple[Timing, ...]:
    """The timings of one measurement of a call with the inputs ``feed``.

    Raises what ``bench.measure.measure`` raises, and RunError when the process dies.
    """
    what = f"{measurement.file.name}: measuring it with {measurement.backend}"
    answer = run_in_child(
        "ftsf_export.bench.measure:serve",
        plain(measurement),
        feed,
        failed=lambda ending: RunError(f"{what} {ending.how}: {ending.said}", details=ending.details),
    )
    return structured(answer.value, tuple[Timing, ...], "the measuring process")
