"""The model that a training starts from, and the teacher that it learns from: both from checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fast_timesformer.model import FastTimeSformer
from ftsf_export.checkpoint.found import Checkpoint
from ftsf_export.checkpoint.load import load_checkpoint, load_model, random_model
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError
from ftsf_export.progress import OnProgress


@dataclass(frozen=True)
class Student:
    """The model to be trained, where it starts, and whom it learns from."""

    model: FastTimeSformer  #: The model in float32, before its first step.
    labels: tuple[str, ...]  #: The classes in the order of the logits.
    checkpoint: Checkpoint | None  #: What the model starts from; None for random weights.
    teacher: FastTimeSformer | None  #: The model that it is taught by; None where the labels alone teach it.
    remarks: tuple[str, ...]  #: What a user has to know.


def make_student(
    config: ExportConfig, classes: Sequence[str], *, teacher: str | Path | None, on_progress: OnProgress
) -> Student:
    """The model that ``config`` asks for, for the ``classes`` of a data set.

    With ``config.checkpoint`` it starts from those weights, as far as they fit another mechanism; the head stays where
    it knows all ``classes`` and is drawn anew where it does not. With a ``teacher`` it starts from the teacher unless
    a checkpoint is given. Raises UsageError where the teacher does not know the classes, and as ``load_checkpoint``.
    """
    taught = _teacher(config, classes, teacher, on_progress) if teacher is not None else None
    if teacher is not None and config.checkpoint is None:
        config = config.replaced(checkpoint=Path(teacher))
    if config.checkpoint is None:
        if "num_classes" in config.given and config.num_classes != len(classes):
            raise UsageError(
                f"num_classes: {config.num_classes} was asked for, the data set has {len(classes)} classes"
            )
        model = load_model(config.replaced(num_classes=len(classes)))
        return Student(model, tuple(classes), None, None, ("starts from random weights",))
    model, checkpoint = load_checkpoint(config.checkpoint, config, on_progress=on_progress)
    labels, remarks = _known_labels(checkpoint, classes), list(checkpoint.warnings)
    if labels is None:
        model = _with_head(model, len(classes), config.seed)
        labels = tuple(classes)
        remarks.append(f"the head is drawn anew: {checkpoint.found.name} does not know these {len(labels)} classes")
    if taught is not None and taught[1] != labels:
        raise UsageError("teacher: its classes are not the student's in the same order; start from the teacher itself")
    return Student(model, labels, checkpoint, None if taught is None else taught[0], tuple(remarks))


def _teacher(
    config: ExportConfig, classes: Sequence[str], path: str | Path, on_progress: OnProgress
) -> tuple[FastTimeSformer, tuple[str, ...]]:
    """The teacher, in its own mechanism, for the student's clips; and its classes."""
    asked = {name: getattr(config, name) for name in ("frames", "size") if name in config.given}
    own = ExportConfig(checkpoint=Path(path), **asked)
    model, checkpoint = load_checkpoint(path, own, on_progress=on_progress)
    labels = _known_labels(checkpoint, classes)
    if labels is None:
        raise UsageError(
            f"teacher: {path}: it does not know the classes {', '.join(classes[:4])}... of the data set; fine-tune it "
            "on them first (--checkpoint), then distil from the result"
        )
    return model, labels


def _known_labels(checkpoint: Checkpoint, classes: Sequence[str]) -> tuple[str, ...] | None:
    """The checkpoint's classes where all of ``classes`` are among them; else None.

    A checkpoint without names is taken for one of these classes where it has as many.
    """
    if checkpoint.labels is not None:
        return checkpoint.labels if set(classes) <= set(checkpoint.labels) else None
    return tuple(classes) if checkpoint.model.num_classes == len(classes) else None


def _with_head(model: FastTimeSformer, classes: int, seed: int) -> FastTimeSformer:
    """The same weights under a head for other classes, drawn from ``seed``."""
    other = random_model(replace(model.config, num_classes=classes), seed)
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}
    other.load_state_dict(kept, strict=False)
    return other
