"""``ftsf predict BUNDLE SOURCE...``: what is to be seen in videos."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftsf_export.cli.options import bundle_argument, ftsf_command, limits_option
from ftsf_export.cli.terminal import Terminal
from ftsf_export.config import RUNNERS
from ftsf_export.errors import PartlyDone, UsageError, VideoError
from ftsf_export.strict_json import plain

if TYPE_CHECKING:
    from ftsf_export.class_scores import ClassScore
    from ftsf_export.parity.accuracy import Accuracy, Share
    from ftsf_export.pipeline.answers import Answer
    from ftsf_export.pipeline.predict_request import PredictSummary
    from ftsf_export.pipeline.prediction import Prediction

_STDOUT = "-"
_MOST_NAME, _MOST_LABEL, _NEXT = 48, 32, 2


@ftsf_command("predict")
@bundle_argument
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--sampling",
    metavar="uniform|stride:S",
    help="Which frames make a clip: the middle of equal parts, or S apart.  [default: as the manifest says]",
)
@click.option("--clips", type=int, default=1, show_default=True, help="Clips of each video, spread over its length.")
@click.option(
    "--crops",
    type=int,
    default=1,
    metavar="1|3",
    show_default=True,
    help="Parts of each frame; 3: beside the centre too.",
)
@click.option(
    "--top-k", "--topk", "top_k", type=int, default=5, show_default=True, help="Classes to tell of each video."
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names of the classes: one a line, JSON, or a CSV of id and name.  [default: those of the manifest]",
)
@click.option(
    "--runner",
    default="auto",
    metavar="|".join(RUNNERS),
    show_default=True,
    help="What runs the model; auto: the best that is here.",
)
@click.option("--workers", type=int, help="Processes that read videos.  [default: one a processor, 16 at most]")
@click.option("--threads", type=int, help="Threads of ONNX Runtime.  [default: its own choice]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a line of JSON for each answer as soon as it is there.",
)
@click.option(
    "--csv",
    "table",
    is_flag=False,
    flag_value=_STDOUT,
    metavar="[FILE]",
    help="The same as rows of CSV; without FILE: on stdout.",
)
@click.option("--resume", is_flag=True, help="Go on: leave out the videos that the file of answers has.")
@click.option("--overwrite", is_flag=True, help="Replace a file of answers that is there.")
@limits_option
def command(terminal: Terminal, /, bundle: Path, sources: tuple[str, ...], table: str | None, **options: Any) -> None:
    """Classify videos: files, folders, patterns, @LIST, or a CSV of path and class.

    With --json each answer is a line of its own, and the summary is the last. Exits 2 when no video can be read, and 1
    when some of several cannot.
    """
    from ftsf_export.bundle import Bundle
    from ftsf_export.cli.summary import say_weights
    from ftsf_export.pipeline.predict_request import PredictRequest
    from ftsf_export.pipeline.prediction import Prediction
    from ftsf_export.verdict import failing

    if table == _STDOUT and terminal.as_json:
        raise UsageError("--csv and --json both write to stdout; give --csv a file")
    request = PredictRequest(csv=None if table in (None, _STDOUT) else Path(table), **options)
    opened = Bundle.open(bundle)
    for verdict in failing(opened.verdicts):
        terminal.warn(f"{verdict.gate} {verdict.status.value} for {verdict.subject.file}: do not trust the answers")
    with terminal.progress(above=True) as on_progress:
        run = Prediction(opened, sources, request, on_progress)
        shown = _Shown(terminal, run, table == _STDOUT)
        with closing(run.answers()) as answers:
            for answer in answers:
                shown.answer(answer)
    summary = run.summary()
    terminal.record(bundle=opened.path, **plain(summary))
    if table != _STDOUT:
        say_weights(terminal, opened.manifest.weights, opened.manifest.model)
        _say_summary(terminal, summary)
    _end(terminal, summary)


class _Shown:
    """Answers as they come: a line of JSON or of CSV each, or a row of a table."""

    def __init__(self, terminal: Terminal, run: Prediction, as_csv: bool) -> None:
        from ftsf_export.pipeline.answers import csv_head, csv_line

        self._terminal, self._run, self._as_csv = terminal, run, as_csv
        names = [len(str(video.path)) for video in run.videos]
        self._width = min(max(names), _MOST_NAME)
        if as_csv:
            terminal.line(csv_line(csv_head(run.top_k)))
        elif not terminal.as_json and len(names) > 1:
            label = f"{'class':<{_MOST_LABEL}}"
            terminal.say(f"{'video':<{self._width}}  {label}{'score':>7}  next", style="bold")

    def answer(self, answer: Answer) -> None:
        from ftsf_export.pipeline.answers import csv_line

        for warning in answer.warnings:
            self._terminal.warn(f"{answer.video}: {warning}")
        if self._as_csv:
            self._terminal.line(csv_line(answer.csv_row()))
        elif self._terminal.as_json:
            self._terminal.line(answer.json_line())
        elif len(self._run.videos) == 1:
            self._terminal.say(answer.video, style="bold")
            for one in answer.topk:
                self._terminal.say(f"  {one.score:.4f}  {self._name(one)}")
        else:
            self._terminal.say(self._row(answer))

    def _row(self, answer: Answer) -> str:
        best, *others = answer.topk
        name = answer.video if len(answer.video) <= self._width else f"...{answer.video[3 - self._width :]}"
        label = f"{_cut(self._name(best)):<{_MOST_LABEL}}"
        following = ", ".join(f"{_cut(self._name(one))} {one.score:.3f}" for one in others[:_NEXT])
        return f"{name:<{self._width}}  {label}{best.score:>7.4f}  {following}"

    def _name(self, one: ClassScore) -> str:
        return self._run.name_of(one.index)


def _cut(label: str) -> str:
    return label if len(label) < _MOST_LABEL else f"{label[: _MOST_LABEL - 4]}..."


def _say_summary(terminal: Terminal, summary: PredictSummary) -> None:
    for remark in summary.remarks:
        terminal.warn(remark)
    for reason in summary.passed_over:
        terminal.note(f"not run with {reason}")
    earlier = f", {summary.resumed} more before" if summary.resumed else ""
    terminal.say(
        f"classified {summary.classified} of {summary.videos} videos{earlier}, in {summary.elapsed_s:.1f} s: "
        f"{summary.videos_per_s:.1f} videos/s, {summary.frames_per_s:.0f} frames/s"
    )
    if summary.runner:
        terminal.say(f"runner     {summary.runner}")
    if summary.accuracy is not None:
        _say_accuracy(terminal, summary.accuracy)


def _say_accuracy(terminal: Terminal, accuracy: Accuracy) -> None:
    for name, share in (("top-1", accuracy.top1), ("top-5", accuracy.top5)):
        if share is not None:
            terminal.say(f"{name:<11}{_share(share)}")
    for one in accuracy.worst:
        terminal.say(f"worst      {one.label}: {one.right} of {one.of} right, {one.times} taken for {one.taken_for}")


def _share(share: Share) -> str:
    low, high = share.interval
    return f"{share.share:.1%}, {share.right} of {share.of} (95 % interval {low:.1%} to {high:.1%})"


def _end(terminal: Terminal, summary: PredictSummary) -> None:
    """Names the videos that could not be classified, and raises for them."""
    errors = summary.errors
    if len(errors) == summary.videos == 1:
        raise VideoError(errors[0].error)
    for failure in errors:
        terminal.error(failure.error)
    if len(errors) == summary.videos:
        raise VideoError(f"none of {summary.videos} videos could be classified; each is named above")
    if errors:
        raise PartlyDone(f"{len(errors)} of {summary.videos} videos could not be classified; each is named above")
