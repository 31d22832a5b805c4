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
from fast_timesformer.finetune.batches import Examples, batches_an_epoch, batches_of, cut, parts, shuffled, size_of
from fast_timesformer.finetune.lesson import Lesson
from fast_timesformer.finetune.settings import TrainingSettings
from fast_timesformer.finetune.state import TrainingState, load_state, save_state
from fast_timesformer.finetune.together import Together
from fast_timesformer.finetune.videos import VideoClips
from fast_timesformer.model import FastTimeSformer

# What is going on, and how much of the training is done, 0 to 1.
OnShareDone = Callable[[str, float], None]
# A shorter memory of squared gradients than PyTorch's 0.999: after a plateau the steps grow at once. With 0.999 the
# motion set stays on "horizontal or vertical" several times as long.
_BETAS = (0.9, 0.98)
# What may differ when a training goes on: it changes no number.
_FREE_TO_CHANGE = ("workers", "save_every", "accumulate")
# Each process draws its own dropout.
_RANKS_APART = 1_000_003


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
        together: the processes that train; all of them see ``folder``.

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
        together: Together | None = None,
    ) -> None:
        self._together = together or Together()
        if min(settings.batch, size_of(examples)) < self._together.size:
            raise ValueError(
                f"batch: expected at least one clip for each of {self._together.size} processes, got a batch of "
                f"{settings.batch} of {size_of(examples)} clips"
            )
        self.model = model
        self.settings = settings
        self.steps = settings.epochs * batches_an_epoch(examples, settings.batch)
        self._examples, self._held_out, self._folder = examples, held_out, folder
        self._device = torch.device(settings.device)
        model.to(self._device)
        taught_by = teacher.to(self._device) if teacher is not None else None
        self._lesson = Lesson(model, taught_by, settings.distillation, settings.favor_weight, settings.favor_limit)
        self._optimizer = torch.optim.AdamW(_groups(model, settings.weight_decay), lr=settings.rate, betas=_BETAS)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=settings.scales_loss)
        self._done = 0

    def fit(self, on_progress: OnShareDone | None = None) -> Iterator[Epoch]:
        """Goes on from the last checkpoint, if there is one. Raises TrainingDiverged when the loss is not finite."""
        cuda = [self._device] if self._device.type == "cuda" else []
        outside = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in cuda]
        torch.manual_seed(self.settings.seed + _RANKS_APART * self._together.rank)
        with self._together.agreed():
            self._resume()
        self._together.as_the_first((*self.model.parameters(), *self.model.buffers()))
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
        steps = cut(order, settings.batch)[first:]
        micro = [parts(self._together.share(step), settings.accumulate) for step in steps]
        clips = batches_of(self._in_epoch(epoch), [one for each in micro for one in each], workers=settings.workers)
        self.model.train()
        for step, each in zip(steps, micro, strict=True):
            losses.append(self._step(clips, len(each), len(step)))
            if settings.save_every and self._done % settings.save_every == 0:
                self._save()
            if on_progress is not None:
                on_progress(f"epoch {epoch + 1} of {settings.epochs}: loss {losses[-1]:.3f}", self._done / self.steps)
        self._save()
        found = None
        if self._held_out is not None:
            found = accuracy(self.model, self._held_out, batch=settings.batch, together=self._together)
        return Epoch(epoch + 1, sum(losses) / len(losses), found, time.perf_counter() - start)

    def _in_epoch(self, epoch: int) -> Examples:
        examples = self._examples
        return examples.in_epoch(self.settings.seed, epoch) if isinstance(examples, VideoClips) else examples

    def _step(self, clips: Iterator[tuple[Tensor, Tensor]], micro_batches: int, size: int) -> float:
        """One step from the next ``micro_batches``, which are this process's share of ``size`` clips."""
        settings = self.settings
        if settings.redraws_at(self._done, self.steps):
            redraw_projections(self.model)
            self._together.as_the_first(each.omega for each in _performers(self.model))
        for group in self._optimizer.param_groups:
            group["lr"] = settings.rate_at(self._done, self.steps)
        self._optimizer.zero_grad(set_to_none=True)
        with self._together.agreed():
            # A list first: nothing of a sum may be lost where an error ends it.
            value = sum([self._gradients(*next(clips), size) for _ in range(micro_batches)])
        value = self._together.summed(value)
        if not math.isfinite(value):
            said = f"the loss is {value}; take a lower learning rate than {settings.rate:g}, or precision fp32"
            step = f"step {self._done + 1} of {self.steps}"
            self._together.raised_by_the_first(TrainingDiverged(f"{step}: {said}; the last checkpoint is from before"))
        self._together.sum_gradients(self.model)
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._done += 1
        return value

    def _gradients(self, x_BFCHW: Tensor, classes_B: Tensor, size: int) -> float:
        """Adds the part that these clips have in the mean over ``size`` clips; returns that part of the loss."""
        autocast = self.settings.autocast
        with torch.autocast(self._device.type, autocast, enabled=autocast is not None):
            loss = self._lesson.loss(x_BFCHW.to(self._device), classes_B.to(self._device))
        loss = loss * (len(classes_B) / size)
        torch.autograd.backward(self._scaler.scale(loss))
        return float(loss.detach())

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a training to go on."""
        free = {name: getattr(TrainingSettings(), name) for name in _FREE_TO_CHANGE}
        return {
            **asdict(replace(self.settings, **free)),
            "clips": size_of(self._examples),
            "clips made by": self._examples.made_by if isinstance(self._examples, VideoClips) else {},
            "processes": self._together.size,
            "model": self.model.config.as_dict(),
        }

    def _save(self) -> None:
        if self._folder is None:
            return
        random = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self._device)
        values: dict[str, Any] = {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}
        values["random"] = self._together.gathered(random)
        with self._together.agreed():
            if self._together.first:
                save_state(self._folder, self.model, TrainingState(self._done, self._identity(), values))

    def _resume(self) -> None:
        if self._folder is None:
            return
        state = load_state(self._folder, self.model, self._identity())
        if state is None:
            return
        self._optimizer.load_state_dict(state.values["optimizer"])
        self._scaler.load_state_dict(state.values["scaler"])
        random = state.values["random"][self._together.rank]
        torch.set_rng_state(random["cpu"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(random["cuda"], self._device)
        self._done = state.step


@torch.no_grad()
def accuracy(model: FastTimeSformer, examples: Examples, *, batch: int = 16, together: Together | None = None) -> float:
    """Share of ``examples`` whose best class is the right one, in float32 and evaluation mode; the mode is put back.

    Examples are clips (F, C, H, W), or views (V, F, C, H, W) of a video, whose scores after softmax are averaged.
    """
    together = together or Together()
    training, device = model.training, next(model.parameters()).device
    model.eval()
    right = 0
    with together.agreed():
        mine = together.share(range(size_of(examples)))
        for clips, classes in batches_of(examples, cut(mine, batch), workers=0):
            scores = model(clips.to(device).flatten(0, -5)).softmax(dim=-1).unflatten(0, (len(classes), -1))
            right += int((scores.mean(dim=1).argmax(dim=-1).cpu() == classes).sum())
    model.train(training)
    return together.summed(right) / size_of(examples)


def redraw_projections(model: nn.Module) -> None:
    """Every FAVOR+ projection anew, from torch's global generator."""
    for module in _performers(model):
        module.redraw_projection_()


def _performers(model: nn.Module) -> list[PerformerAttention]:
    return [module for module in model.modules() if isinstance(module, PerformerAttention)]


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms, tokens and positions do not (Loshchilov and Hutter 2019, and the field since)."""
    free = ("pos_token", "pos_space", "pos_time")
    decayed = [p for name, p in model.named_parameters() if p.ndim >= 2 and name not in free]
    others = [p for name, p in model.named_parameters() if p.ndim < 2 or name in free]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
