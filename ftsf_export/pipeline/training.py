"""Fine-tuning: a folder of videos by class in, a checkpoint for ``ftsf-export --checkpoint`` out. No maths."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import STRIDE
from ftsf_export.config import ExportConfig
from ftsf_export.errors import OutputError, SaidElsewhere, StageError, UsageError, VideoError
from ftsf_export.pipeline.resolve import preprocessing_of
from ftsf_export.progress import OnProgress, silent
from ftsf_export.video.augment import varied_clip
from ftsf_export.video.augmentation import Augmentation
from ftsf_export.video.class_folder import class_folder
from ftsf_export.video.clip import clip_from_video
from ftsf_export.video.encode import write_video
from ftsf_export.video.video_clips import clips_from_video
from ftsf_export.video.views import check_views

if TYPE_CHECKING:
    from fast_timesformer.finetune import Epoch, Motion, Together, Trainer, TrainingSettings
    from ftsf_export.checkpoint.student import Student

TRAIN, HELD_OUT, TEST = "train", "val", "test"


@dataclass(frozen=True, kw_only=True)
class FinetuneRequest:
    """What to train and on what."""

    #: A folder with ``train/CLASS/*.mp4``; ``val/CLASS/*.mp4``, where it is there, is judged after each epoch, and
    #: ``test/CLASS/*.mp4`` after the last one alone, so that nothing is chosen by it.
    data: Path
    #: The safetensors file to write; beside it, in a folder called ``.training``, the state to go on from.
    output: Path
    config: ExportConfig  #: The model, as for an export; ``config.checkpoint`` is what it starts from.
    #: A checkpoint to distil from; the student starts from it unless ``config.checkpoint`` is given.
    teacher: str | None = None
    stride: int | None = None  #: Frames of a video apart; None: the checkpoint's, else about ten seconds a clip.
    resume: bool = False  #: Go on from the state that is there; without it a state that is there is refused.
    overwrite: bool = False  #: Replace ``output``.
    augmentation: Augmentation = field(
        default_factory=Augmentation
    )  #: How the clips that are learnt vary from epoch to epoch.
    clips: int = 1  #: Clips of each video whose scores are averaged in the last judgement.
    crops: int = 1  #: Crops of each clip, 1 or 3, whose scores are averaged in the last judgement.

    def __post_init__(self) -> None:
        check_views(self.clips, self.crops)

    @property
    def state_folder(self) -> Path:
        """Where an interrupted training goes on from."""
        return self.output.with_name(f"{self.output.name}.training")


@dataclass(frozen=True)
class Judged:
    """The trained model on videos that it did not learn from."""

    folder: str  #: "test", or "val" where there is no such folder.
    videos: int  #: How many.
    clips: int  #: Clips of each.
    crops: int  #: Crops of each clip.
    accuracy: float  #: Share of the videos whose best class is right, 0 to 1, by the mean of the views' scores.


@dataclass(frozen=True)
class Finetuned:
    """What a training made."""

    output: Path  #: The file of weights.
    labels: tuple[str, ...]  #: The classes in the order of the logits.
    remarks: tuple[str, ...]  #: What a user has to know of the start.
    epochs: tuple[Epoch, ...]  #: The epochs that were done in this process.
    judged: Judged | None = None  #: The last judgement; None where no more was asked for than after each epoch.

    @property
    def accuracy(self) -> float | None:
        """Held-out top-1 accuracy after the last epoch, 0 to 1; None where nothing was held out."""
        return self.epochs[-1].accuracy if self.epochs else None


def finetune(
    request: FinetuneRequest,
    settings: TrainingSettings,
    *,
    together: Together | None = None,
    on_progress: OnProgress = silent,
    on_epoch: Callable[[Epoch], None] = lambda _epoch: None,
) -> Finetuned:
    """Trains, judges, writes ``request.output`` whole, then removes the state.

    ``together``: the processes that train one model; the first writes. Raises UsageError for data or a checkpoint that
    is wrong, OutputError for a place that is taken, StageError when the loss diverges, SaidElsewhere where another
    process raised one of these.
    """
    from fast_timesformer.finetune import StateError, Together, TrainingDiverged
    from fast_timesformer.finetune.together import EndedElsewhere

    together = together or Together()
    try:
        with together.agreed():
            work = _prepared(request, settings, together, on_progress)
        epochs = []
        for epoch in work.trainer.fit(on_progress):
            epochs.append(epoch)
            on_epoch(epoch)
        judged = _judged(request, settings, work, together)
        with together.agreed():
            if together.first:
                _write(request, work)
    except StateError as error:
        raise UsageError(f"resume: {error}") from error
    except TrainingDiverged as error:
        raise StageError(f"training: {error}") from error
    except EndedElsewhere as error:
        raise SaidElsewhere("another process of this training failed") from error
    return Finetuned(request.output, work.student.labels, work.student.remarks, tuple(epochs), judged)


def write_motion(folder: Path, motion: Motion, *, train: int, held_out: int, seed: int, test: int = 0) -> None:
    """The synthetic set as video files: ``folder/train/CLASS/*.mp4``, and as many of ``val`` and ``test``.

    Raises OutputError where ``folder`` is there and not empty.
    """
    require_empty(folder)
    # The sets come from different seeds: no clip is in two of them.
    sets = ((TRAIN, train), (HELD_OUT, held_out), (TEST, test))
    for own_seed, (place, count) in enumerate(sets, start=len(sets) * seed):
        if not count:
            continue
        for label in motion.labels:
            (folder / place / label).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            grey_FHW, direction = motion.clip(index, seed=own_seed)
            write_video(folder / place / motion.labels[direction] / f"{index:05d}.mp4", iter(grey_FHW.numpy()))


def require_empty(folder: Path) -> None:
    """Raises OutputError where ``folder`` is there and not an empty directory."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}: expected an empty or a new directory, something is there; give another one")


def _check_places(request: FinetuneRequest) -> None:
    output, state = request.output, request.state_folder
    if output.suffix != ".safetensors":
        raise UsageError(f"output: expected a name that ends in .safetensors, got {output.name}")
    if output.is_dir() or (output.exists() and not request.overwrite):
        raise OutputError(f"{output}: is there already; give overwrite=True, or another name")
    if state.exists() and not request.resume:
        raise OutputError(f"{state}: a training was interrupted there; go on with --resume, or remove the folder")
    if not output.parent.is_dir():
        raise OutputError(f"{output.parent}: expected a directory to write into, found none")


def _preprocessing(request: FinetuneRequest, student: Student) -> Preprocessing:
    config = request.config.with_architecture(student.model.config)
    if config.channels != 3:
        raise VideoError(f"a video gives 3 channels, the model takes {config.channels}; it cannot be trained on videos")
    how = preprocessing_of(config, student.checkpoint)
    return how if request.stride is None else replace(how, stride=request.stride, sampling=STRIDE)


@dataclass(frozen=True)
class _Work:
    """A training that is about to begin."""

    student: Student
    trainer: Trainer
    how: Preprocessing


def _prepared(
    request: FinetuneRequest, settings: TrainingSettings, together: Together, on_progress: OnProgress
) -> _Work:
    from fast_timesformer.finetune import Trainer, VideoClips
    from ftsf_export.checkpoint.student import make_student

    _check_places(request)
    train = class_folder(request.data / TRAIN)
    student = make_student(request.config, train.names, teacher=request.teacher, on_progress=on_progress)
    how = _preprocessing(request, student)
    load: Callable[[Path], npt.NDArray[np.float32]] = partial(_clip_values, how=how)
    vary = partial(_varied_values, how=how, vary=request.augmentation) if request.augmentation.varies else None
    # As JSON, which the state's reader takes: it reads no classes of ours.
    made_by = {"augmentation": asdict(request.augmentation), "preprocessing": asdict(how)}
    clips = VideoClips(train.indexed(student.labels), load, vary=vary, made_by=made_by)
    held_out = None
    if (request.data / HELD_OUT).exists():
        held_out = VideoClips(class_folder(request.data / HELD_OUT).indexed(student.labels), load)
    if (request.data / TEST).exists():
        class_folder(request.data / TEST).indexed(student.labels)
    arguments: dict[str, Any] = {"held_out": held_out, "teacher": student.teacher, "folder": request.state_folder}
    try:
        return _Work(student, Trainer(student.model, clips, settings, together=together, **arguments), how)
    except ValueError as error:
        raise UsageError(f"training: {error}") from error


def _judged(request: FinetuneRequest, settings: TrainingSettings, work: _Work, together: Together) -> Judged | None:
    """On the test videos; without them on the held-out ones, where more views are asked for than after each epoch."""
    from fast_timesformer.finetune import VideoClips, accuracy

    views = request.clips * request.crops
    name = TEST if (request.data / TEST).exists() else HELD_OUT
    if not (request.data / name).exists() or (name == HELD_OUT and views == 1):
        return None
    files = class_folder(request.data / name).indexed(work.student.labels)
    load = partial(_view_values, how=work.how, clips=request.clips, crops=request.crops)
    batch = max(1, settings.batch // views)
    found = accuracy(work.student.model, VideoClips(files, load), batch=batch, together=together)
    return Judged(name, len(files), request.clips, request.crops, found)


def _write(request: FinetuneRequest, work: _Work) -> None:
    from fast_timesformer.weights import save_model

    student = work.student
    save_model(student.model.cpu(), request.output, labels=student.labels, preprocessing=asdict(work.how))
    shutil.rmtree(request.state_folder, ignore_errors=True)


def _clip_values(path: Path, how: Preprocessing) -> npt.NDArray[np.float32]:
    return clip_from_video(path, how).values


def _view_values(path: Path, how: Preprocessing, clips: int, crops: int) -> npt.NDArray[np.float32]:
    return clips_from_video(path, how, clips=clips, crops=crops).values


def _varied_values(
    path: Path, drawn_by: Sequence[int], how: Preprocessing, vary: Augmentation
) -> npt.NDArray[np.float32]:
    return varied_clip(path, how, vary, np.random.default_rng(drawn_by))
