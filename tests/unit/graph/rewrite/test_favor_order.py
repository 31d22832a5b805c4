"""Three orders of one product, and which of them takes the fewest multiplications."""

from __future__ import annotations

import pytest
import torch

from ftsf_export.graph.forms.favor import FeaturesCore, PairsCore, WeightsCore
from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.rewrite.favor_order import MOST_TOKENS_IN_PAIRS, Order, cheapest_order


def linear_cost(tokens: int, features: int, width: int) -> int:
    """Multiplications of phi(k)^T v and of phi(q) times that."""
    return 2 * tokens * features * width


def quadratic_cost(tokens: int, features: int, width: int) -> int:
    """Multiplications of phi(q) phi(k)^T and of that times v."""
    return tokens * tokens * (features + width)


def asked(tokens: int, features: int, width: int, kernel: str = "softmax") -> Order:
    return cheapest_order(Grid(8, tokens, 8, width, "space"), features, kernel)


def test_one_query_needs_no_features_for_all_keys() -> None:
    assert cheapest_order(Grid(8, 197, 8, 64, "space"), 266, "softmax", class_only=True) == "weights"
    assert cheapest_order(Grid(1, 1569, 8, 64, "space"), 266, "relu", class_only=True) == "weights"


def test_the_boundary_is_about_103_tokens_for_heads_64_wide() -> None:
    features = 266  # int(64 ln 64)
    assert (asked(103, features, 64), asked(104, features, 64)) == ("weights", "features")
    assert quadratic_cost(103, features, 64) < linear_cost(103, features, 64)
    assert quadratic_cost(104, features, 64) > linear_cost(104, features, 64)


@pytest.mark.parametrize("kernel", ["softmax", "relu"])
@pytest.mark.parametrize("width", [8, 16, 64])
@pytest.mark.parametrize("features", [1, 8, 44, 266])
def test_the_cheaper_order_is_taken(width: int, features: int, kernel: str) -> None:
    for tokens in range(1, 2 * width + 2):
        cheaper = quadratic_cost(tokens, features, width) < linear_cost(tokens, features, width)
        assert asked(tokens, features, width, kernel) == ("weights" if cheaper else "features")


def test_few_frames_need_no_features() -> None:
    """197 tokens a frame: over time only the frames attend. Too few features for the quadratic order, too few here."""

    def over_time(frames: int, features: int = 266, kernel: str = "softmax") -> Order:
        return cheapest_order(Grid(frames, 197, 8, 64, "time"), features, kernel)

    assert over_time(8) == over_time(MOST_TOKENS_IN_PAIRS) == "pairs"
    assert over_time(MOST_TOKENS_IN_PAIRS + 1) == over_time(8, kernel="relu") == "weights"
    assert over_time(8, features=4) == over_time(104) == "features"


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def reference(omega: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, eps: float) -> torch.Tensor:
    """Choromanski et al. 2020, equations 4 and 5, with stabilised softmax features, one key after another."""
    q, k = q * q.shape[-1] ** -0.25, k * k.shape[-1] ** -0.25
    projected_q, projected_k = q @ omega.T, k @ omega.T
    phi_q = (projected_q - q.square().sum(-1, keepdim=True) / 2 - projected_q.amax(-1, keepdim=True)).exp() + eps
    phi_k = (projected_k - k.square().sum(-1, keepdim=True) / 2 - projected_k.amax((-1, -2), keepdim=True)).exp() + eps
    weights = torch.stack([(phi_q * phi_k[..., n : n + 1, :]).sum(-1) for n in range(k.shape[-2])], dim=-1)
    return (weights / weights.sum(-1, keepdim=True)) @ v


@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (1, 7), (30, 30)])
@pytest.mark.parametrize("size", [0.2, 1.0, 8.0])
def test_all_orders_give_one_value(queries: int, keys: int, size: float) -> None:
    """``size``: of queries and keys; with long ones the floor under the features is most of them."""
    omega, q, k, v = draw(20, 8), draw(2, 3, 4, queries, 8), draw(2, 3, 4, keys, 8), draw(2, 3, 5, keys, 8)[:, :, :4]
    q, k = q * size, k * size
    expected = reference(omega, q, k, v, 1e-3)
    with torch.no_grad():
        got = {
            "features": FeaturesCore(omega, 1e-3, "softmax", None)(q, k, v),
            "weights": WeightsCore(omega, 1e-3, "softmax", None)(q, k, v),
        }
        if queries == keys:
            # (B, G, H, N, K) -> tokens first, and back.
            q, k, v = (x.permute(0, 3, 1, 2, 4) for x in (q, k, v))
            got["pairs"] = PairsCore(omega, 1e-3, "softmax", None)(q, k, v).permute(0, 2, 3, 1, 4)
    for order, value in got.items():
        assert value.shape == (2, 3, 4, queries, 8)
        assert torch.allclose(value, expected, rtol=1e-11, atol=1e-12), order
    # It sees the features: with others the value is another.
    q, k, v = draw(2, 3, 4, queries, 8), draw(2, 3, 4, keys, 8), draw(2, 3, 4, keys, 8)
    assert not torch.allclose(reference(omega + 0.1, q, k, v, 1e-3), reference(omega, q, k, v, 1e-3), rtol=1e-2)


@pytest.mark.parametrize("size", [0.01, 1.0, 10.0, 100.0])
def test_features_stay_in_the_range_of_half_precision(size: float) -> None:
    """A query's largest feature is between 1 and 2 however long the query, a key's none above 1 and a bit."""
    eps, width = 1e-4, 16
    core = FeaturesCore(draw(40, width), eps, "softmax", None)
    q, k = draw(2, 3, 4, 9, width) * size, draw(3, 2, 4, 9, width) * size
    with torch.no_grad():
        phi_q, phi_k = core.features(q, k)
    highest = phi_q.amax(dim=-1)
    assert highest.min() >= 1 - 1e-9
    assert highest.max() <= 2
    assert phi_k.min() >= eps
    assert phi_k.max() <= 1 + eps


@pytest.mark.parametrize("tokens", [5, 8, 30])
def test_relu_features_in_both_orders(tokens: int) -> None:
    omega, q, k, v = draw(20, 8), draw(2, 1, 4, tokens, 8), draw(2, 3, 4, tokens, 8)[:, :1], draw(1, 1, 4, tokens, 8)
    phi_q, phi_k = (torch.relu(x * 8**-0.25 @ omega.T) + 1e-3 for x in (q, k))
    weights = phi_q @ phi_k.mT
    expected = (weights / weights.sum(-1, keepdim=True)) @ v
    for core in (FeaturesCore, WeightsCore):
        with torch.no_grad():
            got = core(omega, 1e-3, "relu", None)(q, k, v.expand(2, -1, -1, -1, -1))
        assert torch.allclose(got, expected, rtol=1e-11, atol=1e-12)
