"""Rotation against ``rotary-embedding-torch`` (lucidrains), which turns adjacent pairs as we do.

What differs by design: its spatial frequencies (``freqs_for="pixel"``) are spaced linearly from 1 to 5 times pi, ours
logarithmically; they are given to it here. Its temporal frequencies are kept in float32.
"""

import math
from collections.abc import Iterator

import pytest
import torch
from rotary_embedding_torch import RotaryEmbedding, apply_rotary_emb

from fast_timesformer.rotary import Rotary, rotate

FRAMES, ROWS, COLUMNS, WIDTH = 7, 3, 5, 16


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """Its positions are made in the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def test_time() -> None:
    x = torch.randn(2, 3, FRAMES, WIDTH)
    ours = rotate(x, Rotary(FRAMES, ROWS, COLUMNS, WIDTH).time_FK())
    # Its own frequencies, rounded to float32.
    torch.testing.assert_close(ours, RotaryEmbedding(WIDTH).rotate_queries_or_keys(x), rtol=0, atol=1e-5)
    exact = RotaryEmbedding(WIDTH, custom_freqs=10000 ** (-torch.arange(0, WIDTH, 2) / WIDTH))
    torch.testing.assert_close(ours, exact.rotate_queries_or_keys(x), rtol=1e-13, atol=1e-13)


def test_space() -> None:
    frequencies = torch.logspace(0, math.log10(5), WIDTH // 4) * math.pi
    theirs = RotaryEmbedding(WIDTH // 2, custom_freqs=frequencies, freqs_for="pixel")
    freqs = theirs.get_axial_freqs(ROWS, COLUMNS).reshape(ROWS * COLUMNS, WIDTH)
    x = torch.randn(2, 3, ROWS * COLUMNS, WIDTH)
    ours = rotate(x, Rotary(FRAMES, ROWS, COLUMNS, WIDTH).space_PK())
    torch.testing.assert_close(ours, apply_rotary_emb(freqs, x), rtol=1e-12, atol=1e-12)
