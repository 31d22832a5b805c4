"""The demonstration of a training: three mechanisms learn a set that only the order of frames tells apart.

Each mechanism is trained from random weights, the linear ones also taught by the quadratic one; each result is
exported and judged on the held-out videos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsf_export.bundle import Bundle
from ftsf_export.config import ExportConfig
from ftsf_export.errors import OutputError
from ftsf_export.pipeline.export import export
from ftsf_export.pipeline.training import HELD_OUT, Finetuned, FinetuneRequest, finetune, write_motion
from ftsf_export.progress import OnProgress, silent

if TYPE_CHECKING:
    from fast_timesformer.finetune import Epoch, Motion, TrainingSettings

# Regular attention at twice this rate grows scores so large that FP32 itself departs. Performer keeps one projection
# from start to end: some thousand steps are too few to settle again after each new one.
_ALONE: dict[str, dict[str, Any]] = {
    "regular": {"rate": 1e-3},
    "fastformer": {"rate": 2e-3},
    "performer": {"rate": 1e-3, "redraw_every": 0},
}
_TAUGHT = ("fastformer", "performer")


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
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}: expected an empty or a new directory, something is there; give another one: -o")
    write_motion(folder / "videos", motion, train=train, held_out=held_out, seed=0)
    for request, settings in _trainings(folder, motion, epochs):
        trained = finetune(request, settings, on_progress=on_progress, on_epoch=on_epoch)
        config = ExportConfig(checkpoint=trained.output, held_out=request.data / HELD_OUT)
        place = trained.output.with_suffix("")
        yield Demonstrated(place.name, trained, export(config, output=place, on_progress=on_progress))


def _trainings(folder: Path, motion: Motion, epochs: int | None) -> Iterator[tuple[FinetuneRequest, TrainingSettings]]:
    from fast_timesformer.finetune import Distillation, TrainingSettings, best_device

    data = folder / "videos"
    same: dict[str, Any] = {"precision": "fp32", "device": best_device()}
    alone: dict[str, Any] = {"frames": motion.frames, "size": motion.size, "dim": 64, "depth": 2, "dim_head": 32}
    for attn, own in _ALONE.items():
        yield (
            FinetuneRequest(
                data=data, output=folder / f"{attn}.safetensors", config=ExportConfig(attn=attn, **alone), stride=1
            ),
            TrainingSettings(epochs=epochs or 3 * motion.directions, **same, **own),
        )
    for attn in _TAUGHT:
        yield (
            FinetuneRequest(
                data=data,
                output=folder / f"{attn}-taught.safetensors",
                config=ExportConfig(attn=attn),
                teacher=str(folder / "regular.safetensors"),
            ),
            TrainingSettings(
                epochs=epochs or 2 * motion.directions, rate=1e-3, redraw_every=0, distillation=Distillation(), **same
            ),
        )
