"""A run over many videos: decoding, preprocessing and the model work at the same time, and every video counts once.

Readers of videos (``video.readers``) and the model (``pipeline.classifier``) are processes of their own.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence

from ftsf_export.bundle import Bundle
from ftsf_export.class_scores import best_classes, rank_of
from ftsf_export.doctor.machine import usable_cpus
from ftsf_export.parity.accuracy import Tally
from ftsf_export.pipeline.answers import Answer, AnswerFile, Failure, RightClass, all_opened, kept_of
from ftsf_export.pipeline.classifier import open_classifier
from ftsf_export.pipeline.labels import ClassNumbers, labels_from_file
from ftsf_export.pipeline.predict_request import PredictRequest, PredictSummary
from ftsf_export.pipeline.scoring import Scored, scored_videos
from ftsf_export.pipeline.sources import Video, videos_of
from ftsf_export.progress import OnProgress, silent
from ftsf_export.video.readers import VideoReaders
from ftsf_export.video.video_clips import sampled_as

# More processes than this read no faster than a GPU classifies, and each takes 80 MB.
_MOST_READERS, _MOST_THREADS = 16, 8


class Prediction:
    """One run: ``answers`` gives them one by one, ``summary`` what they came to.

    Raises ConfigError for a wrong option, UsageError for a source or a file of names that is wrong.
    """

    def __init__(
        self, bundle: Bundle, sources: Sequence[str], request: PredictRequest, on_progress: OnProgress = silent
    ) -> None:
        manifest = bundle.manifest
        classes = manifest.model.num_classes
        self._bundle, self._request, self._on_progress = bundle, request, on_progress
        self._how = sampled_as(manifest.preprocessing, request.sampling)
        self.labels = manifest.labels if request.labels is None else labels_from_file(request.labels, classes)
        self._number_of = ClassNumbers(self.labels, classes)
        found = videos_of(sources, self._number_of)
        self.videos = found.found
        self._remarks = (*found.remarks, *self._unknown_classes())
        self.top_k = min(request.top_k, classes)
        self._files = [
            AnswerFile(path, as_csv=as_csv, top_k=self.top_k)
            for path, as_csv in ((request.output, False), (request.csv, True))
            if path is not None
        ]
        self._tally = Tally(classes)
        self._errors: list[Failure] = []
        self._classified = self._frames = self._resumed = 0
        self._runner = ""
        self._passed_over: tuple[str, ...] = ()
        self._began = time.monotonic()

    def answers(self) -> Generator[Answer, None, None]:
        """One for each video that can be classified, in the order in which they are done; the files have it by then.

        To be called once. Raises EnvironmentLacks, OutputError, RunError and UsageError as ``predict``.
        """
        request = self._request
        with all_opened(self._files, resume=request.resume, overwrite=request.overwrite):
            left = [video for video in self.videos if not self._was_answered(video)]
            if not left:
                return
            processes, threads = _shares(request.workers, len(left))
            with (
                VideoReaders(
                    [video.path for video in left],
                    self._how,
                    processes=processes,
                    options={"clips": request.clips, "crops": request.crops, "threads": threads},
                ) as readers,
                open_classifier(
                    self._bundle,
                    request.runner,
                    limited=request.limited,
                    threads=request.threads,
                    on_progress=self._on_progress,
                ) as classifier,
            ):
                self._runner, self._passed_over = classifier.name, classifier.passed_over
                for scored in scored_videos(readers, classifier):
                    if (answer := self._answer(left[scored.place], scored)) is not None:
                        yield answer
                    self._tell_progress()

    def summary(self) -> PredictSummary:
        """Of what was done until now."""
        elapsed, manifest = time.monotonic() - self._began, self._bundle.manifest
        return PredictSummary(
            videos=len(self.videos),
            classified=self._classified,
            resumed=self._resumed,
            errors=tuple(self._errors),
            runner=self._runner,
            passed_over=self._passed_over,
            weights=manifest.weights_described,
            random_weights=manifest.random_weights,
            remarks=self._remarks,
            elapsed_s=round(elapsed, 3),
            videos_per_s=self._classified / elapsed,
            frames_per_s=self._frames / elapsed,
            accuracy=self._tally.accuracy(self.name_of),
        )

    def name_of(self, index: int) -> str:
        """Of a class."""
        return f"class {index}" if self.labels is None else self.labels[index]

    def _answer(self, video: Video, scored: Scored) -> Answer | None:
        """Counts and writes what was found of a video; None where that is an error."""
        name = str(video.path)
        if isinstance(scored.outcome, str):
            self._errors.append(Failure(name, scored.outcome))
            return None
        found = scored.outcome
        number = None if video.label is None else self._number_of(video.label)
        right = None
        if number is not None:
            label = "" if self.labels is None else self.labels[number]
            right = RightClass(index=number, label=label, rank=rank_of(found.scores, number))
        answer = Answer(
            video=name,
            frames=found.frames,
            topk=best_classes(found.scores, self.labels or (), self.top_k),
            runner=self._runner,
            decoded=found.decoded,
            right=right,
            warnings=found.warnings,
            random_weights=self._bundle.manifest.random_weights,
        )
        for file in self._files:
            file.write(answer)
        self._classified += 1
        self._frames += found.decoded
        if right is not None:
            self._tally.add(right.index, answer.topk[0].index, right.rank)
        return answer

    def _was_answered(self, video: Video) -> bool:
        """Whether the files have it already; what they say of it is counted then."""
        kept = kept_of(self._files, str(video.path))
        if kept is None:
            return False
        self._resumed += 1
        if kept.right is not None:
            self._tally.add(kept.right[0], kept.best, kept.right[1])
        return True

    def _unknown_classes(self) -> Iterator[str]:
        unknown = [one for one in self.videos if one.label is not None and self._number_of(one.label) is None]
        if unknown:
            yield (
                f"{len(unknown)} of {len(self.videos)} videos are of a class that the model does not know, such as "
                f"{unknown[0].label!r}; the accuracy is that of the others"
            )

    def _tell_progress(self) -> None:
        done, elapsed = self._classified + len(self._errors), time.monotonic() - self._began
        rates = f"{done / elapsed:.1f} videos/s, {self._frames / elapsed:.0f} frames/s"
        count = len(self.videos) - self._resumed
        self._on_progress(f"classify: {done} of {count} videos, {rates}", done / count)


def _shares(workers: int | None, videos: int) -> tuple[int, int]:
    """How many processes read videos, and with how many threads each: all processors for a lone video as well."""
    cpus = usable_cpus()
    processes = min(workers or min(cpus, _MOST_READERS), videos)
    return processes, max(1, min(cpus // processes, _MOST_THREADS))
