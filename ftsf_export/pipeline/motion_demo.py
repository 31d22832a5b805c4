"""The demonstration of a training: every mechanism learns a set that only the order of frames tells apart.

Each is trained from random weights, and all but the teacher are taught by it as well; each result is exported and
judged on the held-out videos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsf_export.bundle import Bundle
from ftsf_export.config import ExportConfig
from ftsf_export.mechanisms import MECHANISMS, mechanism_named
from ftsf_export.pipeline.export import export
from ftsf_export.pipeline.training import (
    HELD_OUT,
    Finetuned,
    FinetuneRequest,
    finetune,
    require_empty,
    write_motion,
)
from ftsf_export.progress import OnProgress, silent
from ftsf_export.video.augmentation import NOTHING_VARIES

if TYPE_CHECKING:
    from fast_timesformer.finetune import Epoch, Motion, TrainingSettings

# The mechanism that teaches the others, so that it is trained first.
_TEACHER = "regular"


@dataclass(frozen=True)
class Demonstrated:
    """One mechanism that was trained and exported."""

    name: str  #: The mechanism, with "-taught" where a teacher helped.
    trained: Finetuned  #: What the training made.
    bundle: Bundle  #: Its export.


def motion_demo(
    folder: Path,
    motion: Motion,
    *,
    train: int,
    held_out: int,
    epochs: int | None = None,
    on_progress: OnProgress = silent,
    on_epoch: Callable[[Epoch], None] = lambda _epoch: None,
) -> Iterator[Demonstrated]:
    """Writes videos, weights and bundles into ``folder``; yields each result when it is there.

    ``train`` and ``held_out`` count clips. ``epochs``: None for 3 a direction, 2 with a teacher. Raises OutputError
    where ``folder`` is not empty, and as ``finetune`` and ``export`` do.
    """
    require_empty(folder)
    write_motion(folder / "videos", motion, train=train, held_out=held_out, seed=0)
    for request, settings in _trainings(folder, motion, epochs):
        trained = finetune(request, settings, on_progress=on_progress, on_epoch=on_epoch)
        config = ExportConfig(checkpoint=trained.output, held_out=request.data / HELD_OUT)
        place = trained.output.with_suffix("")
        yield Demonstrated(place.name, trained, export(config, output=place, on_progress=on_progress))


def _trainings(folder: Path, motion: Motion, epochs: int | None) -> Iterator[tuple[FinetuneRequest, TrainingSettings]]:
    from fast_timesformer.finetune import Distillation, TrainingSettings, best_device

    data, students = folder / "videos", [name for name in MECHANISMS if name != _TEACHER]
    # Performer keeps one projection from start to end: some thousand steps are too few to settle again after each new
    # one.
    same: dict[str, Any] = {"precision": "fp32", "device": best_device(), "redraw_every": 0}
    model: dict[str, Any] = {"frames": motion.frames, "size": motion.size, "dim": 64, "depth": 2, "dim_head": 32}
    for attn in (_TEACHER, *students):
        output, config = folder / f"{attn}.safetensors", ExportConfig(**{**model, "attn": attn})
        rate = mechanism_named(attn).module.rate
        yield (
            FinetuneRequest(data=data, output=output, config=config, stride=1, augmentation=NOTHING_VARIES),
            TrainingSettings(epochs=epochs or 3 * motion.directions, rate=rate, **same),
        )
    teacher = str(folder / f"{_TEACHER}.safetensors")
    for attn in students:
        output, config = folder / f"{attn}-taught.safetensors", ExportConfig().replaced(attn=attn)
        yield (
            FinetuneRequest(data=data, output=output, config=config, teacher=teacher, augmentation=NOTHING_VARIES),
            TrainingSettings(epochs=epochs or 2 * motion.directions, rate=1e-3, distillation=Distillation(), **same),
        )
