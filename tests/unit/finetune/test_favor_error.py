"""Length of queries and keys, and the distance of FAVOR+ from softmax, against their equations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from fast_timesformer.attention import PerformerAttention
from fast_timesformer.favor_error import favor_errors
from fast_timesformer.finetune import MotionClips, Trainer, TrainingSettings
from fast_timesformer.model import FastTimeSformer


def test_it_is_what_the_equations_say() -> None:
    attention = PerformerAttention(dim=8, heads=2, dim_head=4)
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0)) * 8
    (found,) = favor_errors(nn.Sequential(attention), [x[:1], x[1:]])
    q, k, v = attention.to_qkv(x).detach().reshape(3, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
    lengths = (q / 4**0.25).norm(dim=-1)
    exact = (q @ k.mT / 2).softmax(dim=-1) @ v
    assert found.name == "0"
    assert found.largest_query == pytest.approx(float(lengths.max()), rel=1e-5)
    assert found.median_query == pytest.approx(float(lengths.median()), rel=1e-5)
    assert found.largest_key == pytest.approx(float((k / 4**0.25).norm(dim=-1).max()), rel=1e-5)
    estimate = attention.mix(q, k, v).detach()
    assert found.error == pytest.approx(float((estimate - exact).norm() / exact.norm()), rel=1e-4)
    assert "mix" not in vars(attention)


def test_more_features_do_not_help_long_queries_and_shorter_ones_do() -> None:
    def error(length: float, features: int) -> float:
        torch.manual_seed(0)
        attention = PerformerAttention(dim=64, heads=1, dim_head=64, nb_features=features)
        with torch.no_grad():
            attention.to_qkv.weight.copy_(torch.cat([torch.eye(64)] * 3))
        x = torch.randn(2, 64, 64)
        x = x / x.norm(dim=-1, keepdim=True) * length
        return favor_errors(nn.Sequential(attention), [x])[0].error

    assert error(8, 1024) > 0.5
    assert error(8, 1024) > 0.7 * error(8, 266)
    assert error(2, 266) < 0.2 * error(8, 266)


def test_a_lower_limit_shortens_them_and_the_error(
    make_model: Callable[..., FastTimeSformer], settings: Callable[..., TrainingSettings], clips: MotionClips
) -> None:
    some, found = [torch.stack([clips[index][0] for index in range(4)])], []
    for limit in (4.0, 0.1):
        model = make_model("performer")
        with torch.no_grad():
            for attention in model.modules():
                if isinstance(attention, PerformerAttention):
                    attention.to_qkv.weight[:32] *= 10
        list(Trainer(model, clips, settings(epochs=6, rate=1e-2, favor_weight=1.0, favor_limit=limit)).fit())
        found.append(favor_errors(model, some))
    for high, low in zip(*found, strict=True):
        assert low.median_query < high.median_query
        assert low.error < high.error
    assert favor_errors(make_model("regular"), some) == ()
    with pytest.raises(ValueError, match="at least one clip"):
        favor_errors(model, [])
