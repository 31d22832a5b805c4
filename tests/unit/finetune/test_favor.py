"""Queries and keys that are too long for random features: what it costs, what it does, and that it brings them back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from fast_timesformer.attention import PerformerAttention
from fast_timesformer.finetune import MotionClips, Trainer, TrainingSettings
from fast_timesformer.finetune.favor import favor_loss, has_favor, projections
from fast_timesformer.model import FastTimeSformer

LIMIT = TrainingSettings.favor_limit
Make = Callable[..., FastTimeSformer]
MakeSettings = Callable[..., TrainingSettings]


@pytest.fixture
def clip(clips: MotionClips) -> Tensor:
    return torch.stack([clips[index][0] for index in range(4)])


def long(model: FastTimeSformer, factor: float = 40.0) -> FastTimeSformer:
    """``model`` with queries and keys that are ``factor`` times as long."""
    with torch.no_grad():
        for attention in model.modules():
            if isinstance(attention, PerformerAttention):
                attention.to_qkv.weight[: -attention.to_qkv.out_features // 3] *= factor
    return model


def excess(model: FastTimeSformer, clip: Tensor) -> Tensor:
    with projections(model) as projected:
        model(clip)
    return favor_loss(projected, LIMIT)


def value(model: FastTimeSformer, clip: Tensor) -> float:
    return float(excess(model.eval(), clip).detach())


def test_it_is_the_mean_of_what_is_above_the_limit() -> None:
    """Written out in NumPy, for one attention with given projections."""
    attention = PerformerAttention(dim=8, heads=2, dim_head=4)
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0)) * 60
    with projections(attention) as projected:
        attention(x)
    qkv = (x.numpy() @ attention.to_qkv.weight.detach().numpy().T).reshape(3, 5, 3, 2, 4)
    found = []
    for sample, token, part, head in np.ndindex(3, 5, 2, 2):
        own = qkv[sample, token, part, head] / 4**0.25
        found.append(max(0.0, float((own**2).sum()) - LIMIT))
    assert sum(share > 0 for share in found) > 10
    assert float(favor_loss(projected, LIMIT).detach()) == pytest.approx(sum(found) / len(found), rel=1e-5)


def test_short_ones_cost_nothing(make_model: Make, clip: Tensor) -> None:
    model = make_model("performer")
    assert value(model, clip) == 0
    assert value(long(model), clip) > 10


def test_long_ones_learn_nothing_without_it(make_model: Make, clip: Tensor) -> None:
    """The reason for it: every feature is eps, so the gradient of the queries and keys is next to none."""

    def gradient(factor: float, *, held: bool) -> float:
        model = long(make_model("performer"), factor).eval()
        loss = model(clip).square().sum() + (excess(model, clip) if held else 0)
        loss.backward()
        weight = model.blocks[0].spatial.attn.to_qkv.weight
        assert weight.grad is not None
        # By which part of itself the weight would change.
        return float((weight.grad[:32] * weight[:32].detach()).norm() / weight.grad[32:].norm())

    assert gradient(100, held=False) < 1e-3 * gradient(5, held=False)
    assert gradient(100, held=True) > gradient(5, held=False)


@pytest.mark.parametrize(("weight", "comes_back"), [(0.0, False), (0.1, True)])
def test_training_brings_them_back(
    weight: float, comes_back: bool, make_model: Make, settings: MakeSettings, clips: MotionClips, clip: Tensor
) -> None:
    model = long(make_model("performer"))
    before = value(model, clip)
    list(Trainer(model, clips, settings(epochs=60, rate=1e-2, favor_weight=weight)).fit())
    assert (value(model, clip) < 0.1 * before) is comes_back


def test_blocks_that_are_computed_anew_give_the_same_gradients(make_model: Make, clip: Tensor) -> None:
    found = []
    for again in (False, True):
        model = long(make_model("performer")).eval()
        model.checkpoint_blocks = again
        (model(clip).sum() + excess(model, clip)).backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1])
    for kept, computed in zip(*found, strict=True):
        torch.testing.assert_close(kept, computed)


def test_other_mechanisms_have_none(make_model: Make, settings: MakeSettings, clips: MotionClips) -> None:
    for model in (make_model("regular"), make_model("performer", performer_kernel="relu")):
        assert not has_favor(model)
    with pytest.raises(ValueError, match="at least one FAVOR"):
        favor_loss([], LIMIT)
    losses = [
        next(Trainer(make_model("regular"), clips, settings(favor_weight=weight)).fit()).loss for weight in (0.0, 9.0)
    ]
    assert losses[0] == losses[1]


def test_no_hook_is_left(make_model: Make, clip: Tensor) -> None:
    model = make_model("performer")
    with contextlib.suppress(ValueError), projections(model) as projected:
        model(clip)
        raise ValueError
    count = len(projected)
    assert count == 4, "two attentions in each of two blocks"
    model(clip)
    assert len(projected) == count
