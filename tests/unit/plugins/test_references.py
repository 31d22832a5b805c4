"""The float64 references against the model's own modules, and its rotary tables from positions and frequencies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from fast_timesformer.attention import FastAttention, PerformerAttention, RegularAttention
from fast_timesformer.rotary import Rotary, rotate
from ftsf_plugins.additive_attention.reference import additive_attention
from ftsf_plugins.favor_attention.reference import favor_attention
from ftsf_plugins.rotary import Rotation
from ftsf_plugins.rotary_attention.reference import rotary_attention
from ftsf_plugins.stream import Stream

FRAMES, ROWS, COLUMNS, HEADS, WIDTH = 3, 2, 5, 2, 32
TIME = 10_000.0 ** (-np.arange(0, WIDTH, 2) / WIDTH) / (2 * np.pi)
SPACE = np.logspace(0, math.log10(5), WIDTH // 4) / 2


def spatial() -> Rotation:
    """The class token, then the patches row by row: two axes, each with frequencies of its own pairs."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, ROWS), np.linspace(-1, 1, COLUMNS), indexing="ij")
    positions = np.concatenate((np.zeros((1, 2)), np.stack((rows.ravel(), columns.ravel()), axis=1)))
    nothing = np.zeros_like(SPACE)
    return Rotation(positions, np.stack((np.concatenate((SPACE, nothing)), np.concatenate((nothing, SPACE)))))


def temporal() -> Rotation:
    return Rotation(np.arange(FRAMES, dtype=np.float64)[:, None], TIME[None])


@pytest.mark.parametrize("along", ["time", "space"])
def test_positions_and_frequencies_give_the_tables_of_the_model(along: str) -> None:
    model = Rotary(FRAMES, ROWS, COLUMNS, WIDTH).double()
    prefix = int(along == "space")
    rotary = spatial() if prefix else temporal()
    tables = model.space_PK() if prefix else model.time_FK()
    x = torch.randn(4, prefix + tables[0].shape[0], WIDTH, dtype=torch.float64)
    np.testing.assert_allclose(rotary.turned(x.numpy()), rotate(x, tables, prefix).numpy(), atol=1e-12)
    if prefix:
        np.testing.assert_array_equal(rotary.turned(x.numpy())[:, 0], x[:, 0].numpy())


def test_pairs_of_halves_are_pairs_of_neighbours_in_another_order() -> None:
    neighbours = temporal()
    halves = Rotation(neighbours.positions, neighbours.frequencies, "halves")
    x = np.random.default_rng(0).normal(size=(FRAMES, WIDTH))
    order = np.concatenate((np.arange(0, WIDTH, 2), np.arange(1, WIDTH, 2)))
    np.testing.assert_allclose(halves.turned(x[:, order]), neighbours.turned(x)[:, order], atol=1e-14)


@pytest.mark.parametrize("along", ["time", "space"])
@pytest.mark.parametrize("mechanism", ["additive", "softmax", "relu", "regular"])
def test_the_reference_is_the_model(mechanism: str, along: Any) -> None:
    """Group by group and head by head, as the model's modules mix them."""
    torch.manual_seed(0)
    tokens = 1 + ROWS * COLUMNS
    stream = Stream(FRAMES, tokens, HEADS, WIDTH, along)
    rotary = temporal() if along == "time" else spatial()
    model = Rotary(FRAMES, ROWS, COLUMNS, WIDTH).double()
    tables, prefix = (model.time_FK(), 0) if along == "time" else (model.space_PK(), 1)
    qkv = torch.randn(2, FRAMES * tokens, 3 * HEADS * WIDTH, dtype=torch.float64)
    module: Any
    if mechanism == "additive":
        module = FastAttention(HEADS * WIDTH, dim_head=WIDTH).double()
        torch.nn.init.normal_(module.w_q)
        torch.nn.init.normal_(module.w_k)
        weights = (module.w_q.detach().numpy(), module.w_k.detach().numpy())
        got = additive_attention(qkv.numpy(), *weights, stream, rotary)
    elif mechanism == "regular":
        module = RegularAttention(HEADS * WIDTH, dim_head=WIDTH).double()
        got = rotary_attention(qkv.numpy(), stream, rotary)
    else:
        module = PerformerAttention(HEADS * WIDTH, dim_head=WIDTH, kernel_fn=mechanism).double()
        got = favor_attention(qkv.numpy(), module.omega.numpy(), stream, rotary, eps=module.eps, feature=mechanism)
    grid = qkv.reshape(2, FRAMES, tokens, 3, HEADS, WIDTH)
    wanted = torch.empty(2, FRAMES, tokens, HEADS, WIDTH, dtype=torch.float64)
    for group in range(stream.groups):
        chosen = grid[:, :, group] if along == "time" else grid[:, group]
        q, k, v = chosen.permute(2, 0, 3, 1, 4)
        mixed = module.mix(rotate(q, tables, prefix), rotate(k, tables, prefix), v).detach().transpose(1, 2)
        if along == "time":
            wanted[:, :, group] = mixed
        else:
            wanted[:, group] = mixed
    np.testing.assert_allclose(got, wanted.reshape(got.shape).numpy(), rtol=1e-9, atol=1e-10)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"positions \(N, A\)"):
        Rotation(np.zeros((4, 2)), np.zeros((3, 8)))
    with pytest.raises(ValueError, match="pairs"):
        Rotation(np.zeros((4, 1)), np.zeros((1, 8)), "quarters")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="heads"):
        Stream(1, 1, 0, 64, "time")
    with pytest.raises(ValueError, match="along"):
        Stream(1, 1, 1, 64, "depth")  # type: ignore[arg-type]
