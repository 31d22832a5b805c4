"""``ftsf finetune``: train a model on a folder of videos, for ``ftsf-export --checkpoint``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fast_timesformer.finetune import Distillation, SettingsError, TrainingSettings, best_device
from fast_timesformer.finetune.settings import DIRECTION_COUNTS, PRECISIONS
from ftsf_export.cli.augmentation import augmentation_of, augmentation_options
from ftsf_export.cli.options import field_option, ftsf_command, model_options, typed
from ftsf_export.cli.terminal import Terminal
from ftsf_export.cli.torch_cache import torch_cache_thrown_away
from ftsf_export.config import ExportConfig
from ftsf_export.errors import ConfigError, EnvironmentLacks, UsageError

if TYPE_CHECKING:
    from fast_timesformer.finetune import Epoch, Motion, Together

_MODEL_FIELDS = (
    *("attn", "attn_type", "frames", "size", "patch_size", "dim", "depth", "heads", "dim_head", "num_classes"),
    *("rotary", "checkpoint", "seed"),
)
_DIRECTIONS = "|".join(map(str, DIRECTION_COUNTS))
_TEACHING = ("temperature", "distill", "hidden_weight")


@ftsf_command("finetune")
@click.argument("data", type=click.Path(path_type=Path), required=False, metavar="DATA")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The .safetensors to write; with --demo its directory.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@click.option("--resume", is_flag=True, help="Go on from where an interrupted training of this output stopped.")
@click.option("--teacher", metavar="PATH|ID", help="Distil from this checkpoint; the student starts from its weights.")
@field_option(Distillation, "--distill", "distill", float, "Share of the teacher in the loss.", field="weight")
@field_option(Distillation, "--temperature", "temperature", float, "Softens the teacher's scores.")
@field_option(Distillation, "--hidden-weight", "hidden_weight", float, "Weight of the blocks' difference.")
@field_option(TrainingSettings, "--epochs", "epochs", int, "How often each clip is seen.")
@field_option(TrainingSettings, "--batch", "batch", int, "Clips in one step.")
@field_option(TrainingSettings, "--rate", "rate", float, "Highest learning rate.")
@field_option(TrainingSettings, "--warmup", "warmup", float, "Share of the steps with a rising rate.")
@field_option(TrainingSettings, "--weight-decay", "weight_decay", float, "AdamW's decay of weight matrices.")
@field_option(
    TrainingSettings,
    "--train-precision",
    "train_precision",
    str,
    "Of matrix products.",
    "|".join(PRECISIONS),
    field="precision",
)
@click.option("--device", default=None, metavar="cpu|cuda", help="Where to train.  [default: the GPU if there is one]")
@field_option(TrainingSettings, "--redraw-every", "redraw_every", int, "Steps between FAVOR+ redraws; 0: never.")
@field_option(TrainingSettings, "--favor-weight", "favor_weight", float, "Weight in the loss of long FAVOR+ vectors.")
@field_option(TrainingSettings, "--favor-limit", "favor_limit", float, "Squared length up to which they cost nothing.")
@field_option(TrainingSettings, "--accumulate", "accumulate", int, "Parts of a batch, one after another: less memory.")
@augmentation_options
@click.option(
    "--save-every",
    type=int,
    default=TrainingSettings.save_every,
    help="Steps between checkpoints.  [default: one an epoch]",
)
@field_option(TrainingSettings, "--workers", "workers", int, "Processes that decode videos.")
@click.option("--stride", type=int, help="Frames of a video apart.  [default: the checkpoint's, else 256 / frames]")
@model_options
@click.option("--eval-clips", type=int, default=1, show_default=True, help="Clips of a video in the last judgement.")
@click.option("--eval-crops", type=int, default=1, show_default=True, metavar="1|3", help="Crops of each of them.")
@click.option(
    "--make-motion", type=click.Path(path_type=Path), metavar="DIR", help="Only write the synthetic data set."
)
@click.option(
    "--demo",
    type=int,
    is_flag=False,
    flag_value=DIRECTION_COUNTS[0],
    metavar=f"[{_DIRECTIONS}]",
    help="Write the synthetic data set, train every mechanism on it and export each.",
)
@click.option(
    "--directions",
    type=int,
    default=DIRECTION_COUNTS[0],
    show_default=True,
    metavar=_DIRECTIONS,
    help="Classes of synthetic data.",
)
@click.option("--clips", type=int, default=4096, show_default=True, help="Clips of synthetic data to train on.")
@click.option("--held-out-clips", type=int, default=500, show_default=True, help="Synthetic clips to judge on.")
@click.option("--test-clips", type=int, default=0, show_default=True, help="Synthetic clips to judge on once.")
@torch_cache_thrown_away()
def command(
    terminal: Terminal, /, data: Path | None, make_motion: Path | None, demo: int | None, **options: Any
) -> None:
    """Train a model on DATA (train/CLASS/*.mp4; val/ is judged after each epoch, test/ once) and write a checkpoint.

    The checkpoint goes into ftsf-export --checkpoint. With --checkpoint or --teacher training starts from those
    weights; --attn may then swap the attention mechanism. --make-motion DIR writes a synthetic data set instead, and
    --demo trains and exports every mechanism on it, into out/motion.
    """
    if demo is not None:
        if data is not None or make_motion is not None:
            raise UsageError("--demo makes its own data; leave DATA and --make-motion out")
        _demonstrate(terminal, demo, options)
        return
    if make_motion is not None:
        if data is not None:
            raise UsageError("--make-motion writes a data set and trains nothing; leave DATA out")
        _make_motion(terminal, make_motion, options)
        return
    if data is None or options["output"] is None:
        raise UsageError("expected DATA, a folder of videos by class, and --output FILE.safetensors (or --make-motion)")
    _train(terminal, data, options)


def _train(terminal: Terminal, data: Path, options: dict[str, Any]) -> None:
    from ftsf_export.pipeline.training import FinetuneRequest, finetune

    written = typed(options)
    request = FinetuneRequest(
        data=data,
        config=ExportConfig(**{name: written[name] for name in _MODEL_FIELDS if name in written}),
        augmentation=augmentation_of(options),
        clips=options["eval_clips"],
        crops=options["eval_crops"],
        **{name: options[name] for name in ("output", "teacher", "stride", "resume", "overwrite")},
    )
    if request.teacher is None and (stray := [name for name in _TEACHING if name in written]):
        raise UsageError(f"--{stray[0].replace('_', '-')} needs a --teacher")
    settings = _settings(options, taught=request.teacher is not None)
    with _processes(terminal) as together, terminal.progress() as on_progress:
        on_epoch = partial(_note_epoch, terminal)
        done = finetune(request, settings, together=together, on_progress=on_progress, on_epoch=on_epoch)
    for remark in done.remarks:
        terminal.note(remark)
    epochs = [{"epoch": one.number, "loss": one.loss, "held_out_top1": one.accuracy} for one in done.epochs]
    terminal.record(output=done.output, labels=list(done.labels), epochs=epochs)
    terminal.say(f"weights    {done.output}{_judged(done.accuracy)}")
    if (last := done.judged) is not None:
        terminal.record(judged=asdict(last))
        views = f"{last.clips} x {last.crops} views" if last.clips * last.crops > 1 else "one clip, its centre"
        terminal.say(f"{last.folder:<11}top-1 {last.accuracy:.1%} of {last.videos} videos, {views}")


@contextmanager
def _processes(terminal: Terminal) -> Iterator[Together | None]:
    """This process among those of torchrun, which alone sets both variables; the first of them speaks."""
    if not {"RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"} <= os.environ.keys():
        yield None
        return
    from fast_timesformer.finetune.together import torchrun_processes

    with torchrun_processes() as together:
        if not together.first:
            terminal.mute()
        yield together


def _demonstrate(terminal: Terminal, directions: int, options: dict[str, Any]) -> None:
    _require_torch()
    from ftsf_export.pipeline.motion_demo import motion_demo
    from ftsf_export.verdict import raise_for_failed

    found = []
    with terminal.progress() as on_progress:
        for one in motion_demo(
            options["output"] or Path("out", "motion"),
            _motion({**options, "directions": directions}),
            train=options["clips"],
            held_out=options["held_out_clips"],
            epochs=typed(options).get("epochs"),
            on_progress=on_progress,
            on_epoch=partial(_note_epoch, terminal),
        ):
            found.append(one)
            terminal.say(f"{one.name:<20} {one.bundle.path}{_judged(one.trained.accuracy)}")
            for verdict in one.bundle.verdicts:
                terminal.verdict(verdict)
    terminal.record(
        trained=[
            {"name": one.name, "output": one.trained.output, "held_out_top1": one.trained.accuracy} for one in found
        ]
    )
    raise_for_failed(tuple(verdict for one in found for verdict in one.bundle.verdicts))


def _note_epoch(terminal: Terminal, epoch: Epoch) -> None:
    loss = f"epoch {epoch.number:>3}: loss {epoch.loss:.4f}"
    terminal.note(f"{loss}{_judged(epoch.accuracy)}, {epoch.seconds:.1f} s")


def _judged(accuracy: float | None) -> str:
    return "" if accuracy is None else f", held-out top-1 {accuracy:.1%}"


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise EnvironmentLacks("training needs PyTorch", extra="export")


def _settings(options: dict[str, Any], *, taught: bool) -> TrainingSettings:
    _require_torch()

    same = (
        *(
            "epochs",
            "batch",
            "rate",
            "warmup",
            "weight_decay",
            "redraw_every",
            "favor_weight",
            "favor_limit",
            "save_every",
        ),
        *("workers", "seed", "accumulate"),
    )
    try:
        how = {"temperature": options["temperature"], "weight": options["distill"]}
        distillation = Distillation(**how, hidden_weight=options["hidden_weight"]) if taught else None
        return TrainingSettings(
            precision=options["train_precision"],
            device=own_device(options["device"] or best_device()),
            distillation=distillation,
            **{name: options[name] for name in same},
        )
    except SettingsError as error:
        raise ConfigError(error.problems) from error


def own_device(device: str) -> str:
    """With several processes on one machine, the GPU of this one."""
    return (
        f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        if device == "cuda" and "TORCHELASTIC_RUN_ID" in os.environ
        else device
    )


def _make_motion(terminal: Terminal, folder: Path, options: dict[str, Any]) -> None:
    _require_torch()
    from ftsf_export.pipeline.training import write_motion

    motion, train, held_out = _motion(options), options["clips"], options["held_out_clips"]
    write_motion(folder, motion, train=train, held_out=held_out, seed=options["seed"], test=options["test_clips"])
    terminal.say(f"data       {folder}: {train} + {held_out} clips of {', '.join(motion.labels)}")


def _motion(options: dict[str, Any]) -> Motion:
    from fast_timesformer.finetune import Motion

    written, asked = typed(options), {"directions": options["directions"]}
    if "frames" in written:
        asked["frames"] = written["frames"]
    if "size" in written:
        asked["size"] = ExportConfig(size=options["size"], patch_size=1).size.height
    try:
        return Motion(**asked)
    except SettingsError as error:
        raise ConfigError(error.problems) from error
