"""One measurement, as a value that a process of its own can be given."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftsf_export.bench.outputs import Shapes
from ftsf_export.bench.sampling import Schedule
from ftsf_export.bench.timing import Subject

BACKENDS = ("onnxruntime", "tensorrt", "rtx")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run and how to sum it up.

    Attributes:
        backend: one of BACKENDS.
        file: the ONNX file or the engine.
        feed: a ``.npz`` file of the inputs, by name.
        shapes: output name -> shape that must come out.
        subject: what the timing is about. For an engine the heading is the GPU's name; who measures, and loads the
            library, adds its name and version.
        schedule: how long to measure.
        threads: of ONNX Runtime; None: its own choice.
    """

    backend: str
    file: Path
    feed: Path
    shapes: Shapes
    subject: Subject
    schedule: Schedule
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {self.backend!r}")

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "file": str(self.file), "feed": str(self.feed)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Job:
        """Inverse of ``as_dict``."""
        return cls(
            backend=data["backend"],
            file=Path(data["file"]),
            feed=Path(data["feed"]),
            shapes={name: tuple(shape) for name, shape in data["shapes"].items()},
            subject=Subject.from_dict(data["subject"]),
            schedule=Schedule(**data["schedule"]),
            threads=data["threads"],
        )
