"""Device functions that the kernels share: rows of a head as the two members of their rotary pairs, and their turns.

Letters: R rows of a tile (any leading shape), I pairs of a tile, a power of two.
"""

# Device functions are typed by Triton when it compiles them; it grows tuples by adding to them.
# mypy: ignore-errors
# ruff: noqa: RUF005

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_pairs(rows, mask, WIDTH: tl.constexpr, HALVES: tl.constexpr, BLOCK_PAIRS: tl.constexpr):
    """First and second members (..., I) in FP32 of the rows that begin at the pointers ``rows`` (..., 1); zeros where
    ``mask`` (..., 1) is false and beyond the head's width. No byte outside of the rows is read, none twice."""
    if HALVES:
        pair = tl.arange(0, BLOCK_PAIRS)
        inside = mask & (pair < WIDTH // 2)
        first = tl.load(rows + pair, mask=inside, other=0.0)
        second = tl.load(rows + (pair + WIDTH // 2), mask=inside, other=0.0)
    else:
        column = tl.arange(0, 2 * BLOCK_PAIRS)
        x = tl.load(rows + column, mask=mask & (column < WIDTH), other=0.0)
        first, second = tl.split(tl.reshape(x, x.shape[:-1] + [BLOCK_PAIRS, 2]))
    return first.to(tl.float32), second.to(tl.float32)


@triton.jit
def store_pairs(rows, first, second, mask, WIDTH: tl.constexpr, HALVES: tl.constexpr, BLOCK_PAIRS: tl.constexpr):
    """Inverse of ``load_pairs``: FP32 members are rounded to the type of ``rows``."""
    kind: tl.constexpr = rows.dtype.element_ty
    if HALVES:
        pair = tl.arange(0, BLOCK_PAIRS)
        inside = mask & (pair < WIDTH // 2)
        tl.store(rows + pair, first.to(kind), mask=inside)
        tl.store(rows + (pair + WIDTH // 2), second.to(kind), mask=inside)
    else:
        column = tl.arange(0, 2 * BLOCK_PAIRS)
        x = tl.join(first.to(kind), second.to(kind))
        x = tl.reshape(x, first.shape[:-1] + [2 * BLOCK_PAIRS])
        tl.store(rows + column, x, mask=mask & (column < WIDTH))


@triton.jit
def cosine_sine(turns):
    """cos and sin of 2 pi ``turns``, FP32, absolute error about 1e-7 for |turns| up to 2^22.

    A fraction of a turn is exact, which the usual reduction by multiples of pi is not; the polynomials are those of
    Cephes' sinf and cosf on an eighth of a turn either way. The hardware's own are good to 5e-7, and no interpreter
    knows them; the libraries' have a slow path in local memory.
    """
    quarter = tl.floor(turns * 4 + 0.5)
    x = (turns - quarter * 0.25) * 6.283185307179586
    z = x * x
    sin = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * x + x
    cos = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0
    quadrant = quarter.to(tl.int32) & 3
    swap = (quadrant & 1) == 1
    turned_cos = tl.where(swap, sin, cos)
    turned_sin = tl.where(swap, cos, sin)
    return (
        tl.where((quadrant == 1) | (quadrant == 2), -turned_cos, turned_cos),
        tl.where(quadrant >= 2, -turned_sin, turned_sin),
    )


@triton.jit
def load_frequencies(frequencies, WIDTH: tl.constexpr, AXES: tl.constexpr, BLOCK_PAIRS: tl.constexpr):
    """Rows of the frequencies (A, I), one (1, I) an axis; none without axes."""
    pair = tl.arange(0, BLOCK_PAIRS)[None, :]
    rows = ()
    for axis in tl.static_range(AXES):
        rows = rows + (tl.load(frequencies + axis * (WIDTH // 2) + pair, mask=pair < WIDTH // 2, other=0.0),)
    return rows


@triton.jit
def cosine_sine_of(positions, frequency_rows, token, tokens, AXES: tl.constexpr):
    """cos and sin (R, I) of the turns of ``token`` (R,), from positions (N, A); no turn beyond them.

    The fraction of the product of position and frequency is rounded once, after the whole turns are gone.
    """
    turns = tl.zeros([token.shape[0], frequency_rows[0].shape[1]], tl.float32)
    for axis in tl.static_range(AXES):
        position = tl.load(positions + token * AXES + axis, mask=token < tokens, other=0.0)[:, None]
        position, frequency = tl.broadcast(position, frequency_rows[axis])
        turns += tl.fma(position, frequency, -tl.floor(position * frequency + 0.5))
    return cosine_sine(turns)


@triton.jit
def turned(first, second, cos, sin):
    """(a, b) -> (a cos - b sin, b cos + a sin)."""
    return first * cos - second * sin, second * cos + first * sin


@triton.jit
def load_turned(
    rows, mask, positions, frequency_rows, token, tokens,
    WIDTH: tl.constexpr, AXES: tl.constexpr, HALVES: tl.constexpr, BLOCK_PAIRS: tl.constexpr,
):  # fmt: skip
    """Rows (R,) of queries or keys as ``load_pairs`` gives them, (R, I), turned by the angles of ``token`` (R,)."""
    first, second = load_pairs(rows[:, None], mask[:, None], WIDTH, HALVES, BLOCK_PAIRS)
    if AXES > 0:
        cos, sin = cosine_sine_of(positions, frequency_rows, token, tokens, AXES)
        first, second = turned(first, second, cos, sin)
    return first, second
