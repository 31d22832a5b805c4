"""``predict``: videos in, the best classes of each out, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from ftsf_export.bundle import Bundle
from ftsf_export.pipeline.answers import Answer
from ftsf_export.pipeline.predict_request import Predictions, PredictRequest
from ftsf_export.pipeline.prediction import Prediction
from ftsf_export.progress import OnProgress, silent


def predict(
    bundle: str | Path,
    source: str | Path | Sequence[str | Path],
    *,
    sampling: str | None = None,
    clips: int = 1,
    crops: int = 1,
    top_k: int = 5,
    labels: str | Path | None = None,
    runner: str = "auto",
    workers: int | None = None,
    threads: int | None = None,
    limited: bool = True,
    output: str | Path | None = None,
    csv: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_answer: Callable[[Answer], object] | None = None,
    on_progress: OnProgress = silent,
) -> Predictions:
    """Classifies every video of ``source``: files, folders, patterns, lists (``@files.txt``, or a CSV of path, class).

    Args:
        bundle: the bundle's directory.
        source: one source, or several.
        sampling: which frames make a clip: "uniform", or "stride:S"; None: as the manifest says.
        clips: clips of each video, spread over its length; the scores after softmax are averaged over all views.
        crops: parts of each frame: 1, the centre, or 3, with what is beside it.
        top_k: how many classes of each video are told.
        labels: a file with the classes' names; None: those of the manifest.
        runner: "auto" (the best that is here), "tensorrt", "rtx" or "onnxruntime".
        workers: processes that read videos; None: one a processor, 16 at most.
        threads: of ONNX Runtime; None: its own choice.
        limited: whether the graph may take no more than many times what a model of its size takes; False is for a
            bundle that is trusted.
        output: a file that gets a line of JSON for each answer as soon as it is there.
        csv: the same as rows of CSV.
        resume: leave out the videos that these files have.
        overwrite: replace these files where they are there.
        on_answer: is given each answer as soon as it is there; ``Predictions.answers`` stays empty then, so that
            memory does not grow with their number.
        on_progress: is told what is going on.

    Raises ConfigError for a wrong option, BundleError for a bundle that is damaged, UsageError for a source or a file
    that is wrong, EnvironmentLacks for what is not installed, OutputError where answers cannot be written, RunError
    where the model does not run. A video that cannot be read does not raise: see ``PredictSummary.errors``.
    """
    request = PredictRequest(
        sampling=sampling,
        clips=clips,
        crops=crops,
        top_k=top_k,
        labels=None if labels is None else Path(labels),
        runner=runner,
        workers=workers,
        threads=threads,
        limited=limited,
        output=None if output is None else Path(output),
        csv=None if csv is None else Path(csv),
        resume=resume,
        overwrite=overwrite,
    )
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    run = Prediction(Bundle.open(bundle), [str(one) for one in sources], request, on_progress)
    answers: list[Answer] = []
    with closing(run.answers()) as found:
        for answer in found:
            (on_answer or answers.append)(answer)
    return Predictions(tuple(answers), run.summary())
