"""Pi R x = R' Pi x, and scores do not see Pi."""

from __future__ import annotations

import pytest
import torch

from fast_timesformer.rotary import rotate
from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.forms.rotation import HalvesRotation, NeighbourRotation, RotaryTables, quarter_turn
from ftsf_export.graph.rewrite import rotation_halves

TOKENS, WIDTH, HEADS = 5, 8, 2


def double(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def cos_sin() -> tuple[torch.Tensor, torch.Tensor]:
    """Both members of a pair of neighbours hold one value."""
    angles = double(TOKENS, WIDTH // 2, seed=9).repeat_interleave(2, dim=-1)
    return angles.cos(), angles.sin()


def test_the_permutation_sends_neighbours_to_halves() -> None:
    assert rotation_halves.permuted(torch.arange(8)).tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_neighbours_turn_as_in_the_model(cos_sin: tuple[torch.Tensor, torch.Tensor]) -> None:
    x = double(3, HEADS, TOKENS + 1, WIDTH)
    tables = RotaryTables(*cos_sin, prefix=1)
    with torch.no_grad():
        turned = NeighbourRotation(tables)(x)
    assert torch.allclose(turned, rotate(x, cos_sin, 1), rtol=1e-13, atol=1e-14)
    assert torch.equal(turned[:, :, 0], x[:, :, 0])


def test_halves_after_the_permutation_turn_as_neighbours_before_it(cos_sin: tuple[torch.Tensor, torch.Tensor]) -> None:
    x = double(3, HEADS, TOKENS, WIDTH)
    tables = RotaryTables(*cos_sin, prefix=0)
    with torch.no_grad():
        neighbours, halves = NeighbourRotation(tables)(x), HalvesRotation(tables)(rotation_halves.permuted(x))
    assert torch.allclose(halves, rotation_halves.permuted(neighbours), rtol=1e-13, atol=1e-14)
    assert not torch.allclose(halves, neighbours, rtol=1e-2)


def test_a_rotation_is_cos_and_sin_times_a_quarter_turn() -> None:
    assert torch.equal(quarter_turn(torch.tensor([1.0, 2, 3, 4])), torch.tensor([-2.0, 1, -4, 3]))


@pytest.mark.parametrize("bias", [True, False])
def test_scores_and_features_do_not_see_the_permutation(bias: bool) -> None:
    packed = LinearMap(double(6, 3 * HEADS * WIDTH, seed=1), double(3 * HEADS * WIDTH, seed=2) if bias else None)
    permuted = rotation_halves.permuted_qkv(packed, HEADS, WIDTH)
    x, omega = double(4, 6, seed=3), double(11, WIDTH, seed=4)

    def heads(product: LinearMap) -> tuple[torch.Tensor, ...]:
        return product(x).reshape(4, 3, HEADS, WIDTH).permute(1, 2, 0, 3).unbind(0)

    with torch.no_grad():
        (q, k, v), (new_q, new_k, new_v) = heads(packed), heads(permuted)
    assert torch.equal(new_q, rotation_halves.permuted(q))
    assert torch.allclose(new_q @ new_k.mT, q @ k.mT, rtol=1e-12, atol=1e-13)
    assert torch.allclose(new_k @ rotation_halves.permuted(omega).T, k @ omega.T, rtol=1e-12, atol=1e-13)
    assert torch.equal(new_v, v)
    assert not torch.allclose(new_q @ k.mT, q @ k.mT, rtol=1e-2)
