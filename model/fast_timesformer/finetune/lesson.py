"""One batch's loss: the classes, what a teacher makes of the same clips, and what keeps FAVOR+ alive.

Letters: B clips, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from fast_timesformer.finetune.favor import favor_loss, has_favor, listening, projections
from fast_timesformer.finetune.loss import distillation_loss, hidden_loss
from fast_timesformer.finetune.settings import Distillation
from fast_timesformer.model import FastTimeSformer


class Lesson:
    """Raises ValueError where a teacher is there without ``Distillation``, or the other way round, or where the two
    models cannot be held against each other. ``favor_weight``, ``favor_limit``: see ``favor_loss``; without FAVOR+ they
    do nothing."""

    def __init__(
        self,
        student: FastTimeSformer,
        teacher: FastTimeSformer | None,
        how: Distillation | None,
        favor_weight: float,
        favor_limit: float,
    ) -> None:
        if (teacher is None) != (how is None):
            raise ValueError("a teacher and settings for distillation come together: expected both or neither")
        if teacher is not None and teacher.config.num_classes != student.config.num_classes:
            raise ValueError(
                f"the teacher has {teacher.config.num_classes} classes, the student {student.config.num_classes}; "
                "distillation compares the same classes"
            )
        self._student, self._teacher, self._how = student, teacher, how
        self._favor_limit = favor_limit
        self._favor_weight = favor_weight if has_favor(student) else 0.0
        if teacher is not None and how is not None and how.hidden_weight > 0:
            _check_streams(student, teacher)
        if teacher is not None:
            teacher.eval()

    def loss(self, x_BFCHW: Tensor, classes_B: Tensor) -> Tensor:
        """A number in float32, with gradients to the student alone."""
        if self._favor_weight == 0:
            return self._taught(x_BFCHW, classes_B)
        with projections(self._student) as projected:
            loss = self._taught(x_BFCHW, classes_B)
        return torch.add(loss, favor_loss(projected, self._favor_limit), alpha=self._favor_weight)

    def _taught(self, x_BFCHW: Tensor, classes_B: Tensor) -> Tensor:
        if self._teacher is None or self._how is None:
            return functional.cross_entropy(self._student(x_BFCHW).float(), classes_B)
        how = self._how
        with _streams(self._student, how.hidden_weight > 0) as seen:
            logits = self._student(x_BFCHW)
        with torch.no_grad(), _streams(self._teacher, how.hidden_weight > 0) as shown:
            wanted = self._teacher(x_BFCHW)
        loss = (1 - how.weight) * functional.cross_entropy(logits.float(), classes_B)
        loss = loss + how.weight * distillation_loss(logits, wanted, how.temperature)
        if how.hidden_weight > 0:
            loss = loss + how.hidden_weight * hidden_loss(seen, shown)
        return torch.as_tensor(loss)


def _check_streams(student: FastTimeSformer, teacher: FastTimeSformer) -> None:
    names = ("depth", "dim", "attn_type", "frames", "num_patches")
    for name in names:
        ours, theirs = getattr(student.config, name), getattr(teacher.config, name)
        if ours != theirs:
            raise ValueError(
                f"hidden weight: streams that cannot be compared: {name} is {theirs} in the teacher, {ours} in the "
                "student"
            )


@contextmanager
def _streams(model: FastTimeSformer, wanted: bool) -> Iterator[list[Tensor]]:
    """Collects the stream (B, N, D) after each block, while it lasts."""
    seen: list[Tensor] = []
    with listening(model.blocks if wanted else (), lambda _block, output: seen.append(output)):
        yield seen
