"""Fine-tuning: a folder of videos by class in, a checkpoint for ``ftsf-export --checkpoint`` out. No maths."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import STRIDE
from ftsf_export.config import ExportConfig
from ftsf_export.errors import OutputError, StageError, UsageError, VideoError
from ftsf_export.pipeline.resolve import preprocessing_of
from ftsf_export.progress import OnProgress, silent
from ftsf_export.video.class_folder import ClassFolder, class_folder
from ftsf_export.video.clip import clip_from_video
from ftsf_export.video.encode import write_video

if TYPE_CHECKING:
    from fast_timesformer.finetune import Epoch, Motion, TrainingSettings
    from ftsf_export.checkpoint.student import Student

TRAIN, HELD_OUT = "train", "val"


@dataclass(frozen=True, kw_only=True)
class FinetuneRequest:
    """What to train and on what."""

    data: Path  #: A folder with ``train/CLASS/*.mp4`` and, where held-out accuracy is wanted, ``val/CLASS/*.mp4``.
    #: The safetensors file to write; beside it, in a folder called ``.training``, the state to go on from.
    output: Path
    config: ExportConfig  #: The model, as for an export; ``config.checkpoint`` is what it starts from.
    #: A checkpoint to distil from; the student starts from it unless ``config.checkpoint`` is given.
    teacher: str | None = None
    stride: int | None = None  #: Frames of a video apart; None: the checkpoint's, else about ten seconds a clip.
    resume: bool = False  #: Go on from the state that is there; without it a state that is there is refused.
    overwrite: bool = False  #: Replace ``output``.

    @property
    def state_folder(self) -> Path:
        """Where an interrupted training goes on from."""
        return self.output.with_name(f"{self.output.name}.training")


@dataclass(frozen=True)
class Finetuned:
    """What a training made."""

    output: Path  #: The file of weights.
    labels: tuple[str, ...]  #: The classes in the order of the logits.
    remarks: tuple[str, ...]  #: What a user has to know of the start.
    epochs: tuple[Epoch, ...]  #: The epochs that were done in this process.

    @property
    def accuracy(self) -> float | None:
        """Held-out top-1 accuracy after the last epoch, 0 to 1; None where nothing was held out."""
        return self.epochs[-1].accuracy if self.epochs else None


def finetune(
    request: FinetuneRequest,
    settings: TrainingSettings,
    *,
    on_progress: OnProgress = silent,
    on_epoch: Callable[[Epoch], None] = lambda _epoch: None,
) -> Finetuned:
    """Trains, writes ``request.output`` whole, then removes the state.

    Raises UsageError for data or a checkpoint that is wrong, OutputError for a place that is taken, StageError when
    the loss diverges.
    """
    from fast_timesformer.finetune import StateError, TrainingDiverged
    from fast_timesformer.weights import save_model
    from ftsf_export.checkpoint.student import make_student

    _check_places(request)
    train = class_folder(request.data / TRAIN)
    held_out = class_folder(request.data / HELD_OUT) if (request.data / HELD_OUT).exists() else None
    student = make_student(request.config, train.names, teacher=request.teacher, on_progress=on_progress)
    how = _preprocessing(request, student)
    epochs = []
    try:
        for epoch in _epochs(request, settings, student, how, (train, held_out), on_progress):
            epochs.append(epoch)
            on_epoch(epoch)
    except StateError as error:
        raise UsageError(f"resume: {error}") from error
    except TrainingDiverged as error:
        raise StageError(f"training: {error}") from error
    save_model(student.model.cpu(), request.output, labels=student.labels, preprocessing=asdict(how))
    shutil.rmtree(request.state_folder, ignore_errors=True)
    return Finetuned(request.output, student.labels, student.remarks, tuple(epochs))


def write_motion(folder: Path, motion: Motion, *, train: int, held_out: int, seed: int) -> None:
    """The synthetic set as video files: ``folder/train/CLASS/*.mp4`` and ``folder/val/CLASS/*.mp4``.

    Raises OutputError where ``folder`` is there and not empty.
    """
    require_empty(folder)
    # The two sets come from different seeds: no clip is in both.
    for place, count, own_seed in ((TRAIN, train, 2 * seed), (HELD_OUT, held_out, 2 * seed + 1)):
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


def _epochs(
    request: FinetuneRequest,
    settings: TrainingSettings,
    student: Student,
    how: Preprocessing,
    folders: tuple[ClassFolder, ClassFolder | None],
    on_progress: OnProgress,
) -> Iterator[Epoch]:
    from fast_timesformer.finetune import Trainer, VideoClips

    load: Callable[[Path], npt.NDArray[np.float32]] = partial(_clip_values, how=how)
    clips, held_out = (
        None if folder is None else VideoClips(folder.indexed(student.labels), load) for folder in folders
    )
    try:
        arguments: dict[str, Any] = {"held_out": held_out, "teacher": student.teacher, "folder": request.state_folder}
        trainer = Trainer(student.model, clips, settings, **arguments)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(f"training: {error}") from error
    yield from trainer.fit(on_progress)


def _clip_values(path: Path, how: Preprocessing) -> npt.NDArray[np.float32]:
    return clip_from_video(path, how).values
