"""Stochastic depth: whole samples, the right share, the right scale, and nothing in evaluation."""

import pytest
import torch

from fast_timesformer.drop_path import DropPath
from fast_timesformer.model import FastTimeSformer

RATE, SAMPLES = 0.3, 20_000


def test_whole_samples_are_dropped_and_the_mean_is_kept() -> None:
    out = DropPath(RATE)(torch.ones(SAMPLES, 2, 3))
    per_sample = out.flatten(1)
    assert torch.equal(per_sample.amin(dim=1), per_sample.amax(dim=1)), "a sample is dropped as a whole"
    dropped = (per_sample[:, 0] == 0).double().mean().item()
    assert abs(dropped - RATE) < 4 * (RATE * (1 - RATE) / SAMPLES) ** 0.5
    torch.testing.assert_close(per_sample[:, 0][per_sample[:, 0] > 0].unique(), torch.tensor([1 / (1 - RATE)]))


def test_it_is_the_identity_in_evaluation_and_at_rate_0() -> None:
    x = torch.randn(4, 2, 3)
    assert DropPath(RATE).eval()(x) is x
    assert DropPath(0.0).train()(x) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_wrong_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate: expected a probability"):
        DropPath(rate)


def test_rates_grow_from_block_to_block() -> None:
    model = FastTimeSformer(2, 3, 16, 16, 2, dim=16, dim_head=8, depth=4, drop_path=0.3)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0.0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("attn_type", ["divided", "joint", "space"])
def test_every_branch_is_dropped_alone(attn_type: str) -> None:
    """In training each branch of a block vanishes for some clips; with all of them gone the stream passes unchanged."""
    model = FastTimeSformer(1, 3, 16, 16, 2, dim=16, dim_head=8, depth=2, drop_path=0.5, attn_type=attn_type)
    block = model.blocks[-1]
    branches = [name for name in ("temporal", "spatial", "joint", "mlp") if hasattr(block, name)]
    x = torch.randn(400, 2, 16)
    with torch.no_grad():
        for name in branches:
            for weight in getattr(block, name).parameters():
                weight.mul_(10)
        changed = (block(x) != x).flatten(1).any(dim=1).double().mean().item()
        expected = 1 - 0.5 ** len(branches)
        assert abs(changed - expected) < 4 * (expected * (1 - expected) / 400) ** 0.5
        block.eval()
        assert torch.equal(block(x), block(x))
