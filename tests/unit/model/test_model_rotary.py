"""Rotary positions: proper pairs, relative positions only, and only on queries and keys that have a position."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fast_timesformer.attention import Attention, FastAttention, PerformerAttention, RegularAttention
from fast_timesformer.rotary import Rotary, RotaryTables, rotate

FRAMES, ROWS, COLUMNS, WIDTH = 5, 4, 6, 32
GRID = Rotary(FRAMES, ROWS, COLUMNS, WIDTH, joint=True).double()
few = settings(max_examples=25, deadline=None)


def scores(tables: RotaryTables) -> Tensor:
    """Scores (n, n) of one query and one key put at every pair of positions."""
    generator = torch.Generator().manual_seed(3)
    q, k = torch.randn(2, 1, WIDTH, dtype=torch.float64, generator=generator)
    n = tables[0].shape[0]
    return rotate(q.expand(n, WIDTH), tables) @ rotate(k.expand(n, WIDTH), tables).mT


SCORES = {
    "time": scores(GRID.time_FK()).reshape(FRAMES, 1, 1, FRAMES, 1, 1),
    "space": scores(GRID.space_PK()).reshape(1, ROWS, COLUMNS, 1, ROWS, COLUMNS),
    "joint": scores(GRID.joint_NK()).reshape(FRAMES, ROWS, COLUMNS, FRAMES, ROWS, COLUMNS),
}


@pytest.mark.parametrize("kind", ["time", "space", "joint"])
@few
@given(data=st.data())
def test_scores_depend_on_relative_position_only(kind: str, data: st.DataObject) -> None:
    table = SCORES[kind]
    first, second, shift = [], [], []
    for size in table.shape[:3]:
        a, b = (data.draw(st.integers(0, size - 1)) for _ in range(2))
        first.append(a)
        second.append(b)
        shift.append(data.draw(st.integers(-min(a, b), size - 1 - max(a, b))))
    moved = [place + step for place, step in zip(first + second, shift + shift, strict=True)]
    torch.testing.assert_close(table[tuple(moved)], table[tuple(first + second)], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kind", "axis"), [("time", 0), ("space", 1), ("space", 2), *(("joint", a) for a in range(3))])
def test_scores_do_depend_on_it_along_every_axis(kind: str, axis: int) -> None:
    table = SCORES[kind]
    origin = [0, 0, 0]
    values = [table[(*origin, *(i if a == axis else 0 for a in range(3)))] for i in range(table.shape[axis])]
    gaps = [abs(float(a - b)) for i, a in enumerate(values) for b in values[:i]]
    assert min(gaps) > 1e-3


@pytest.mark.parametrize("tables", [GRID.time_FK(), GRID.space_PK(), GRID.joint_NK()], ids=("time", "space", "joint"))
def test_both_members_of_a_pair_turn_by_one_angle(tables: RotaryTables) -> None:
    cos, sin = tables
    assert torch.equal(cos[:, 0::2], cos[:, 1::2])
    assert torch.equal(sin[:, 0::2], sin[:, 1::2])
    x = torch.randn(cos.shape, dtype=torch.float64)
    as_complex = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    expected = torch.view_as_real(as_complex * torch.complex(cos[:, 0::2], sin[:, 0::2])).flatten(-2)
    torch.testing.assert_close(rotate(x, tables), expected, rtol=1e-14, atol=1e-14)
    pairs = rotate(x, tables).unflatten(-1, (-1, 2)).norm(dim=-1)
    torch.testing.assert_close(pairs, x.unflatten(-1, (-1, 2)).norm(dim=-1), rtol=1e-13, atol=1e-13)


def test_angles_are_those_of_the_design() -> None:
    time_cos, time_sin = GRID.time_FK()
    assert time_sin[3, 2].item() == pytest.approx(math.sin(3 * 10000 ** (-2 / WIDTH)), abs=1e-15)
    assert torch.equal(time_cos[0], torch.ones(WIDTH, dtype=torch.float64))
    space_sin = GRID.space_PK()[1].reshape(ROWS, COLUMNS, WIDTH)
    frequencies = [math.pi * 5 ** (i / 7) for i in range(8)]
    for i, frequency in enumerate(frequencies):
        # Row 1 of 4 sits at -1/3, column 4 of 6 at 0.6.
        assert space_sin[1, 4, 2 * i].item() == pytest.approx(math.sin(-frequency / 3), abs=1e-14)
        assert space_sin[1, 4, WIDTH // 2 + 2 * i].item() == pytest.approx(math.sin(0.6 * frequency), abs=1e-14)


def test_joint_is_time_for_the_first_half_and_space_for_the_second() -> None:
    half = Rotary(FRAMES, ROWS, COLUMNS, WIDTH // 2).double()
    for joint, time, space in zip(GRID.joint_NK(), half.time_FK(), half.space_PK(), strict=True):
        by_place = joint.reshape(FRAMES, ROWS * COLUMNS, WIDTH)
        assert torch.equal(by_place[..., : WIDTH // 2], time[:, None].expand(-1, ROWS * COLUMNS, -1))
        assert torch.equal(by_place[..., WIDTH // 2 :], space[None].expand(FRAMES, -1, -1))


@pytest.mark.parametrize("kind", [FastAttention, PerformerAttention, RegularAttention])
def test_values_and_prefix_are_never_turned(kind: type[Attention], monkeypatch: pytest.MonkeyPatch) -> None:
    attention = kind(dim=2 * WIDTH, dim_head=WIDTH)
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    mix = attention.mix

    def spy(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        seen.append((q, k, v))
        return mix(q, k, v)

    monkeypatch.setattr(attention, "mix", spy)
    rotary = Rotary(FRAMES, ROWS, COLUMNS, WIDTH)
    x = torch.randn(2, 1 + ROWS * COLUMNS, 2 * WIDTH)
    attention(x)
    attention(x, rotary=rotary.space_PK(), num_prefix=1)
    (plain_q, plain_k, plain_v), (q, k, v) = seen
    assert torch.equal(v, plain_v)
    for turned, plain in ((q, plain_q), (k, plain_k)):
        assert torch.equal(turned[:, :, :1], plain[:, :, :1])
        # No patch stays: no row or column of this grid sits at coordinate 0.
        assert ((turned - plain)[:, :, 1:].abs().amax(dim=-1) > 1e-4).all()
        assert torch.equal(turned[:, :, 1:], rotate(plain[:, :, 1:], rotary.space_PK()))


def test_tables_are_no_state_and_exact_in_every_type() -> None:
    rotary = Rotary(FRAMES, ROWS, COLUMNS, WIDTH, joint=True)
    assert not rotary.state_dict()
    assert not list(rotary.parameters())
    there_and_back = Rotary(FRAMES, ROWS, COLUMNS, WIDTH, joint=True).half().double()
    for name in ("time_FK", "space_PK", "joint_NK"):
        for exact, single, again in zip(
            getattr(GRID, name)(), getattr(rotary, name)(), getattr(there_and_back, name)(), strict=True
        ):
            assert single.dtype == torch.float32
            assert torch.equal(single, exact.float())
            assert torch.equal(again, exact)
            assert not torch.equal(exact, exact.float().double())


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"dim_head: expected a multiple of 8, got 12"):
        Rotary(2, 2, 2, 12, joint=True)
    with pytest.raises(ValueError, match=r"joint=True"):
        Rotary(2, 2, 2, 16).joint_NK()
    with pytest.raises(ValueError, match=r"num_prefix 1 need tokens of shape \(\.\.\., 6, 32\), got \(1, 5, 32\)"):
        rotate(torch.zeros(1, 5, 32), GRID.time_FK(), num_prefix=1)
