"""FAVOR+: an unbiased estimate from orthogonal rows, and a stabiliser that sees one sample only."""

import math

import pytest
import torch
from torch import Tensor

from fast_timesformer.attention import PerformerAttention
from fast_timesformer.attention.performer import draw_omega

WIDTH, FEATURES, DRAWS = 8, 20, 4000


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def attention(**options: object) -> PerformerAttention:
    return PerformerAttention(WIDTH, dim_head=WIDTH, nb_features=FEATURES, generator=seeded(0), **options).double()


def unstabilised(layer: PerformerAttention, x: Tensor, over: tuple[int, ...]) -> Tensor:
    """phi without eps and with the stabiliser multiplied out again."""
    stabiliser = (x * WIDTH**-0.25 @ layer.omega.mT).amax(dim=over, keepdim=True)
    layer.eps = 0.0
    return layer.feature_map(x, over) * stabiliser.exp()


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_mean_over_omegas_is_the_softmax_kernel(side: float) -> None:
    """A z-score below 4 for each pair, over 4000 draws; M is no multiple of K, so a partial block takes part.

    The vectors lean to one side of every axis: rows that favour a half space (as QR's do, left alone) show.
    """
    layer = attention()
    q, k = torch.rand(2, 1, 1, 3, WIDTH, dtype=torch.float64, generator=seeded(1)) * side
    generator, estimates = seeded(2), []
    for _ in range(DRAWS):
        layer.redraw_projection_(generator)
        estimates.append((unstabilised(layer, q, (-1,)) * unstabilised(layer, k, (-1, -2))).sum(dim=-1)[0, 0])
    values = torch.stack(estimates)
    exact = torch.exp((q * k).sum(dim=-1)[0, 0] / math.sqrt(WIDTH))
    z = (values.mean(dim=0) - exact) / (values.std(dim=0) / math.sqrt(DRAWS))
    assert z.abs().max() < 4, z
    # The test can tell: the standard error is small against the kernel.
    assert (values.std(dim=0) / math.sqrt(DRAWS) / exact).max() < 0.02


def test_rows_are_orthogonal_within_blocks() -> None:
    omega = draw_omega(FEATURES, WIDTH, generator=seeded(0))
    assert omega.shape == (FEATURES, WIDTH)
    for block in omega.split(WIDTH):
        gram = block @ block.mT
        torch.testing.assert_close(gram, torch.diag(gram.diagonal()), rtol=0, atol=1e-12)
    across = draw_omega(2 * WIDTH, WIDTH, generator=seeded(0))
    assert (across[:WIDTH] @ across[WIDTH:].mT).abs().max() > 0.1, "the blocks must be drawn apart"


def test_norms_are_chi_distributed_and_directions_uniform() -> None:
    """Squared norms have mean K and variance 2K; each coordinate has mean 0 and variance 1; all within 4 sigma."""
    rows = torch.cat([draw_omega(FEATURES, WIDTH, generator=seeded(seed)) for seed in range(500)])
    squares = rows.square().sum(dim=1)
    count = len(rows)
    assert abs(squares.mean().item() - WIDTH) < 4 * math.sqrt(2 * WIDTH / count)
    # The fourth central moment of chi-squared is 12 K (K + 4).
    spread = math.sqrt((12 * WIDTH * (WIDTH + 4) - (2 * WIDTH) ** 2) / count)
    assert abs(squares.var().item() - 2 * WIDTH) < 4 * spread
    assert rows.mean(dim=0).abs().max() < 4 / math.sqrt(count)
    # The first row of each draw alone, too: this is where unsigned QR leans to one side.
    first = rows[::FEATURES]
    assert first.mean(dim=0).abs().max() < 4 / math.sqrt(len(first))
    assert (rows.square().mean(dim=0) - 1).abs().max() < 4 * math.sqrt(2 / count)


def test_ortho_scaling_1_makes_all_norms_sqrt_k() -> None:
    norms = draw_omega(FEATURES, WIDTH, ortho_scaling=1, generator=seeded(0)).norm(dim=1)
    torch.testing.assert_close(norms, torch.full_like(norms, math.sqrt(WIDTH)), rtol=1e-12, atol=0)


def test_redrawing_is_in_place_seeded_and_saved() -> None:
    layer = attention()
    before, address = layer.omega.clone(), layer.omega.data_ptr()
    layer.redraw_projection_(seeded(0))
    assert torch.equal(layer.omega.float(), before.float()), "the same seed draws what the constructor drew"
    layer.redraw_projection_(seeded(1))
    assert layer.omega.data_ptr() == address
    assert not torch.equal(layer.omega, before)
    assert not layer.omega.requires_grad
    assert torch.equal(layer.state_dict()["omega"], layer.omega)


def test_the_global_generator_draws_where_none_is_given() -> None:
    torch.manual_seed(5)
    first = PerformerAttention(16, dim_head=16)
    torch.manual_seed(5)
    again, other = PerformerAttention(16, dim_head=16), PerformerAttention(16, dim_head=16)
    assert torch.equal(first.omega, again.omega)
    assert not torch.equal(first.omega, other.omega)
    assert first.omega.shape == (int(16 * math.log(16)), 16)


@pytest.mark.parametrize("kernel", ["softmax", "relu"])
def test_both_orders_of_the_product_are_one_value(kernel: str) -> None:
    """Few tokens take (phi(q) phi(k)^T) v, many take phi(q) (phi(k)^T v)."""
    layer = attention(kernel_fn=kernel)
    limit = 2 * FEATURES * WIDTH / (FEATURES + WIDTH)
    for tokens in (3, math.floor(limit), math.ceil(limit), 40):
        q, k, v = torch.randn(3, 2, 1, tokens, WIDTH, dtype=torch.float64)
        phi_q, phi_k = layer.feature_map(q, (-1,)), layer.feature_map(k, (-1, -2))
        weights = torch.einsum("bhnm,bhlm->bhnl", phi_q, phi_k)
        expected = weights / weights.sum(dim=-1, keepdim=True) @ v
        torch.testing.assert_close(layer.mix(q, k, v), expected, rtol=1e-12, atol=1e-12)


def test_large_inputs_stay_finite_in_single_precision() -> None:
    layer = PerformerAttention(WIDTH, dim_head=WIDTH, nb_features=FEATURES)
    q, k, v = torch.randn(3, 1, 1, 50, WIDTH) * 1e3
    assert torch.isfinite(layer.mix(q, k, v)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kernel_fn": "cosine"},
            r"kernel_fn: expected one of softmax, relu, or nn.ReLU\(\) for the second, got 'cosine'",
        ),
        ({"nb_features": 0}, r"features: expected .* at least 1, got 0"),
        ({"ortho_scaling": 2}, r"ortho_scaling: expected 0 or 1, got 2"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PerformerAttention(16, dim_head=16, **options)
