"""What a prediction is asked for, and what it came to: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fast_timesformer.rules import FLAG, choice, optional, whole, wrong_fields
from ftsf_export.config import RUNNERS
from ftsf_export.errors import ConfigError
from ftsf_export.parity.accuracy import Accuracy
from ftsf_export.pipeline.answers import Answer, Failure
from ftsf_export.video.views import CROPS

_RULES = {
    "runner": choice(*RUNNERS),
    "top_k": whole(1),
    "clips": whole(1, 1000),
    "crops": choice(*CROPS),
    **dict.fromkeys(("workers", "threads"), optional(whole(1, 1024))),
    **dict.fromkeys(("limited", "resume", "overwrite"), FLAG),
}


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """How videos are classified. Raises ConfigError with every bad field."""

    sampling: str | None = None  #: "uniform" or "stride:S"; None: as the manifest says.
    clips: int = 1  #: Clips of each video, spread over its length.
    crops: int = 1  #: Parts of each frame: the centre, or with 3 what is beside it as well.
    top_k: int = 5  #: How many classes of each video are told.
    labels: Path | None = None  #: A file with the classes' names; None: those of the manifest.
    runner: str = "auto"  #: One of RUNNERS.
    workers: int | None = None  #: Processes that read videos; None: one a processor, 16 at most.
    threads: int | None = None  #: Of ONNX Runtime; None: its own choice.
    #: Whether the graph may take no more time and memory than a model of its size does, many times over; False is for
    #: a bundle that is trusted.
    limited: bool = True
    output: Path | None = None  #: A file that gets a line of JSON for each answer.
    csv: Path | None = None  #: A file that gets a row of CSV for each answer.
    resume: bool = False  #: Leave out the videos that ``output`` and ``csv`` have already.
    overwrite: bool = False  #: Replace ``output`` and ``csv`` where they are there.

    def __post_init__(self) -> None:
        problems = [f"{name}: {said}" for name, said in wrong_fields(self, _RULES)]
        if self.resume and self.output is None and self.csv is None:
            problems.append("resume: goes on with a file of answers; give output (or csv) as well")
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True, kw_only=True)
class PredictSummary:
    """A whole run.

    Attributes:
        videos: how many the sources name.
        classified: how many got an answer in this run.
        resumed: how many had one already.
        errors: those that could not be classified, by name.
        runner: what ran the model.
        passed_over: better ways of running it, each with why it does not work here.
        weights: where the model's weights come from.
        random_weights: whether they were drawn, so that the scores mean nothing.
        remarks: what may have been meant otherwise.
        elapsed_s: seconds from the start, the model's loading included.
        videos_per_s: of those that were classified.
        frames_per_s: frames that were decoded, of those videos.
        accuracy: of the videos whose class is known, resumed ones included; None where there is none.
    """

    videos: int
    classified: int
    resumed: int
    errors: tuple[Failure, ...]
    runner: str
    passed_over: tuple[str, ...]
    weights: str
    random_weights: bool
    remarks: tuple[str, ...]
    elapsed_s: float
    videos_per_s: float
    frames_per_s: float
    accuracy: Accuracy | None


@dataclass(frozen=True)
class Predictions:
    """What ``predict`` found.

    Attributes:
        answers: of every video that was classified, in the order in which they were done.
        summary: the run as a whole; ``summary.errors`` names the videos that could not be classified.
    """

    answers: tuple[Answer, ...]
    summary: PredictSummary
