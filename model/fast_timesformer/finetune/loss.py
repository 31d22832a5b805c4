"""What a student is held to. Letters: B clips, L classes, N tokens, D width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def distillation_loss(student_BL: Tensor, teacher_BL: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), mean over clips (Hinton et al. 2015, section 2).

    T^2 keeps the size of the gradients independent of the temperature. Computed in float32 at least: half precision
    loses the small probabilities, which are what a teacher has to tell.
    """
    teacher, student = (functional.log_softmax(_wide(x) / temperature, dim=-1) for x in (teacher_BL, student_BL))
    per_clip = (teacher.exp() * (teacher - student)).sum(dim=-1)
    return torch.mul(per_clip.mean(), temperature**2)


def hidden_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean over clips and blocks of |s - t|^2 / |t|^2, the streams (B, N, D) after each block; 0 where they agree.

    Relative to the teacher's size, so that late blocks, whose streams are larger, do not drown the early ones. Raises
    ValueError when there is no block, or not as many on both sides.
    """
    if not student or len(student) != len(teacher):
        raise ValueError(
            f"expected as many blocks of the student as of the teacher, got {len(student)}, {len(teacher)}"
        )
    errors = [
        ((_wide(s) - _wide(t)).square().sum(dim=(1, 2)) / _wide(t).square().sum(dim=(1, 2))).mean()
        for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(errors).mean()


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
