"""Distillation against the equations, written out in NumPy float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fast_timesformer.finetune import distillation_loss, hidden_loss


def naive_softmax(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_divergence_is_hintons(temperature: float) -> None:
    generator = np.random.default_rng(0)
    student, teacher = generator.normal(size=(2, 3, 7)) * 2
    expected = 0.0
    for s, t in zip(student, teacher, strict=True):
        p, q = naive_softmax(t / temperature), naive_softmax(s / temperature)
        expected += sum(p[i] * np.log(p[i] / q[i]) for i in range(7)) / 3
    found = distillation_loss(torch.tensor(student), torch.tensor(teacher), temperature)
    assert float(found) == pytest.approx(temperature**2 * expected, rel=1e-12)


def test_it_is_zero_where_both_agree_up_to_a_constant_and_not_symmetric() -> None:
    a, b = torch.tensor([[1.0, 2.0, 5.0]]), torch.tensor([[0.0, 3.0, 1.0]])
    assert float(distillation_loss(a, a + 7, 2.0)) == pytest.approx(0, abs=1e-6)
    assert float(distillation_loss(a, b, 2.0)) != pytest.approx(float(distillation_loss(b, a, 2.0)), rel=1e-2)


def test_half_precision_is_widened() -> None:
    student = torch.tensor([[12.0, 0.0, -4.0]])
    teacher = torch.tensor([[12.0, 1.0, -9.0]])
    found = distillation_loss(student.bfloat16(), teacher.bfloat16(), 1.0)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(distillation_loss(student, teacher, 1.0)), rel=1e-6)


def test_hidden_loss_is_relative_to_the_teacher_and_a_mean_over_blocks() -> None:
    teacher = [torch.full((1, 2, 2), 3.0), torch.full((1, 2, 2), 100.0)]
    student = [torch.full((1, 2, 2), 6.0), torch.full((1, 2, 2), 100.0)]
    assert float(hidden_loss(student, teacher)) == pytest.approx((1.0 + 0.0) / 2)
    with pytest.raises(ValueError, match="as many blocks"):
        hidden_loss(student, teacher[:1])
    with pytest.raises(ValueError, match="as many blocks"):
        hidden_loss([], [])
