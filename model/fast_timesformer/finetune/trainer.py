"""The training loop: AdamW, cosine with warm-up, mixed precision, a teacher where there is one, checkpoints.

Letters: B clips, F frames, C channels, H height, W width, L classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fast_timesformer.attention import PerformerAttention
from fast_timesformer.finetune.batches import Examples, batches_an_epoch, batches_of, shuffled, size_of
from fast_timesformer.finetune.lesson import Lesson
from fast_timesformer.finetune.settings import TrainingSettings
from fast_timesformer.finetune.state import TrainingState, load_state, save_state
from fast_timesformer.model import FastTimeSformer

# What is going on, and how much of the training is done, 0 to 1.
OnShareDone = Callable[[str, float], None]
# A shorter memory of squared gradients than PyTorch's 0.999: after a plateau the steps grow at once. With 0.999 the
# motion set stays on "horizontal or vertical" several times as long.
_BETAS = (0.9, 0.98)
# What may differ when a training goes on: it changes no number.
_FREE_TO_CHANGE = ("workers", "save_every")


class TrainingDiverged(RuntimeError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the clips."""

    number: int  #: From 1.
    loss: float  #: Mean over the steps done in this process.
    #: Share of the held-out clips whose best class is right, from 0 to 1; None without held-out clips.
    accuracy: float | None
    seconds: float  #: How long it took.


class Trainer:
    """Trains ``model`` in place; ``fit`` gives one ``Epoch`` after another.

    On the CPU a training that was interrupted and goes on from its checkpoint ends with the same bits as one that was
    not. Only the global random state of torch is used, and it is left as it was before.

    Args:
        model: takes the clips that ``examples`` give.
        examples: (x_FCHW float32, class) by index.
        settings: how.
        held_out: judged after each epoch.
        teacher: with ``settings.distillation``; same classes. Its own mode and device are changed.
        folder: where checkpoints are written and looked for; None: nowhere.

    Raises ValueError where settings and arguments contradict each other, StateError for a checkpoint that is not this
    training's.
    """

    def __init__(
        self,
        model: FastTimeSformer,
        examples: Examples,
        settings: TrainingSettings,
        *,
        held_out: Examples | None = None,
        teacher: FastTimeSformer | None = None,
        folder: Path | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.steps = settings.epochs * batches_an_epoch(examples, settings.batch)
        self._examples, self._held_out, self._folder = examples, held_out, folder
        self._device = torch.device(settings.device)
        model.to(self._device)
        taught_by = teacher.to(self._device) if teacher is not None else None
        self._lesson = Lesson(model, taught_by, settings.distillation, settings.favor_weight)
        self._optimizer = torch.optim.AdamW(_groups(model, settings.weight_decay), lr=settings.rate, betas=_BETAS)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=settings.scales_loss)
        self._done = 0

    def fit(self, on_progress: OnShareDone | None = None) -> Iterator[Epoch]:
        """Goes on from the last checkpoint, if there is one. Raises TrainingDiverged when the loss is not finite."""
        cuda = [self._device] if self._device.type == "cuda" else []
        outside = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in cuda]
        torch.manual_seed(self.settings.seed)
        self._resume()
        try:
            per_epoch = batches_an_epoch(self._examples, self.settings.batch)
            while self._done < self.steps:
                yield self._epoch(self._done // per_epoch, self._done % per_epoch, on_progress)
        finally:
            self.model.eval()
            torch.set_rng_state(outside[0])
            for device, state in zip(cuda, outside[1], strict=True):
                torch.cuda.set_rng_state(state, device)

    def _epoch(self, epoch: int, first: int, on_progress: OnShareDone | None) -> Epoch:
        settings, start, losses = self.settings, time.perf_counter(), []
        order = shuffled(size_of(self._examples), seed=settings.seed, epoch=epoch)
        batches = batches_of(self._examples, settings.batch, workers=settings.workers, order=order, first=first)
        self.model.train()
        for clips, classes in batches:
            losses.append(self._step(clips.to(self._device), classes.to(self._device)))
            if settings.save_every and self._done % settings.save_every == 0:
                self._save()
            if on_progress is not None:
                on_progress(f"epoch {epoch + 1} of {settings.epochs}: loss {losses[-1]:.3f}", self._done / self.steps)
        self._save()
        found = None if self._held_out is None else accuracy(self.model, self._held_out, batch=settings.batch)
        return Epoch(epoch + 1, sum(losses) / len(losses), found, time.perf_counter() - start)

    def _step(self, x_BFCHW: Tensor, classes_B: Tensor) -> float:
        settings = self.settings
        if settings.redraws_at(self._done, self.steps):
            redraw_projections(self.model)
        if settings.flip:
            mirrored = torch.rand(len(x_BFCHW), device=x_BFCHW.device) < 0.5
            x_BFCHW = torch.where(mirrored[:, None, None, None, None], x_BFCHW.flip(-1), x_BFCHW)
        for group in self._optimizer.param_groups:
            group["lr"] = settings.rate_at(self._done, self.steps)
        with torch.autocast(self._device.type, settings.autocast, enabled=settings.autocast is not None):
            loss = self._lesson.loss(x_BFCHW, classes_B)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"step {self._done + 1} of {self.steps}: the loss is {value}; take a lower learning rate than "
                f"{settings.rate:g}, or precision fp32; the last checkpoint is from before"
            )
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(loss))
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._done += 1
        return value

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a training to go on."""
        free = {name: getattr(TrainingSettings(), name) for name in _FREE_TO_CHANGE}
        return {
            **asdict(replace(self.settings, **free)),
            "clips": size_of(self._examples),
            "model": self.model.config.as_dict(),
        }

    def _save(self) -> None:
        if self._folder is None:
            return
        values = {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}
        values["random"] = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            values["random"]["cuda"] = torch.cuda.get_rng_state(self._device)
        save_state(self._folder, self.model, TrainingState(self._done, self._identity(), values))

    def _resume(self) -> None:
        if self._folder is None:
            return
        state = load_state(self._folder, self.model, self._identity())
        if state is None:
            return
        self._optimizer.load_state_dict(state.values["optimizer"])
        self._scaler.load_state_dict(state.values["scaler"])
        torch.set_rng_state(state.values["random"]["cpu"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state.values["random"]["cuda"], self._device)
        self._done = state.step


@torch.no_grad()
def accuracy(model: FastTimeSformer, examples: Examples, *, batch: int = 16) -> float:
    """Share of ``examples`` whose best class is the right one, in float32 and evaluation mode; the mode is put back."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    right = 0
    for clips, classes in batches_of(examples, batch, workers=0):
        right += int((model(clips.to(device)).argmax(dim=-1).cpu() == classes).sum())
    model.train(training)
    return right / size_of(examples)


def redraw_projections(model: nn.Module) -> None:
    """Every FAVOR+ projection anew, from torch's global generator."""
    for module in model.modules():
        if isinstance(module, PerformerAttention):
            module.redraw_projection_()


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms, tokens and positions do not (Loshchilov and Hutter 2019, and the field since)."""
    free = ("pos_token", "pos_space", "pos_time")
    decayed = [p for name, p in model.named_parameters() if p.ndim >= 2 and name not in free]
    others = [p for name, p in model.named_parameters() if p.ndim < 2 or name in free]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
