"""Two orders of one product, and which of them takes fewer multiplications."""

from __future__ import annotations

import pytest
import torch

from ftsf_export.graph.forms.favor import FavorCore
from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.rewrite import favor_order


def linear_cost(tokens: int, features: int, width: int) -> int:
    """Multiplications of phi(k)^T v and of phi(q) times that."""
    return 2 * tokens * features * width


def quadratic_cost(tokens: int, features: int, width: int) -> int:
    """Multiplications of phi(q) phi(k)^T and of that times v."""
    return tokens * tokens * (features + width)


def asked(tokens: int, features: int, width: int) -> bool:
    return favor_order.quadratic_is_cheaper(Grid(8, tokens, 8, width, "space"), features)


def test_the_boundary_is_about_103_tokens_for_heads_64_wide() -> None:
    features = 266  # int(64 ln 64)
    assert asked(103, features, 64)
    assert not asked(104, features, 64)
    assert quadratic_cost(103, features, 64) < linear_cost(103, features, 64)
    assert quadratic_cost(104, features, 64) > linear_cost(104, features, 64)


@pytest.mark.parametrize("width", [8, 16, 64])
@pytest.mark.parametrize("features", [1, 8, 44, 266])
def test_the_cheaper_order_is_taken(width: int, features: int) -> None:
    for tokens in range(1, 2 * width + 2):
        cheaper = quadratic_cost(tokens, features, width) < linear_cost(tokens, features, width)
        assert asked(tokens, features, width) is cheaper


def test_frames_are_counted_along_time() -> None:
    """8 frames of 197 tokens: few tokens attend over time, many within a frame."""
    time, space = (Grid(8, 197, 8, 64, along) for along in ("time", "space"))
    assert favor_order.quadratic_is_cheaper(time, 266)
    assert not favor_order.quadratic_is_cheaper(space, 266)


@pytest.mark.parametrize("kernel", ["softmax", "relu"])
@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (1, 7), (30, 30)])
def test_both_orders_give_one_value(kernel: str, queries: int, keys: int) -> None:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    omega, q, k, v = draw(20, 8), draw(2, 3, 4, queries, 8), draw(2, 3, 4, keys, 8), draw(2, 3, 4, keys, 8)
    orders = [FavorCore(omega, 1e-3, kernel, None, quadratic=quadratic) for quadratic in (False, True)]
    with torch.no_grad():
        linear, quadratic = (core(q, k, v) for core in orders)
        plain = torch.softmax(q @ k.mT, dim=-1) @ v
    assert linear.shape == (2, 3, 4, queries, 8)
    assert torch.allclose(linear, quadratic, rtol=1e-12, atol=1e-13)
    assert not torch.allclose(linear, plain, rtol=1e-2)
