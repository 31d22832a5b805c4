"""How an attention reads the flat token stream (B, S, 3 * H * K) where it lies, and writes (B, S, H * K).

Letters: B clips, F frames, T tokens a frame (the class token first, where there is one), S = F * T, G groups that
attend apart, N tokens that attend to each other, H heads, K head width, I = K / 2 rotary pairs.

The stream is frame-major. Attention along time has G = T groups of N = F tokens, T rows apart; attention along space
has G = F groups of N = T neighbouring rows. Either way an element is at batch * b + group * g + token * n + column,
so that regrouping costs a stride and no transpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Along = Literal["time", "space"]
ALONGS: tuple[Along, ...] = get_args(Along)
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Strides:
    """How many elements lie between neighbours."""

    batch: int  #: From one batch entry to the next.
    group: int  #: From one group to the next.
    token: int  #: From one token to the next.


@dataclass(frozen=True)
class Stream:
    """A token stream; joint attention is one frame that holds all tokens. Raises ValueError naming the wrong field."""

    frames: int  #: F.
    tokens: int  #: T, of one frame.
    heads: int  #: H.
    width: int  #: K, of one head.
    along: Along  #: Along what attention goes: "time" (N = F) or "space" (N = T).

    def __post_init__(self) -> None:
        for name in ("frames", "tokens", "heads", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.width % 2:
            raise ValueError(f"width: expected an even number (rotary pairs), got {self.width}")
        if self.along not in ALONGS:
            raise ValueError(f"along: expected 'time' or 'space', got {self.along!r}")

    @property
    def attending(self) -> int:
        """N."""
        return self.frames if self.along == "time" else self.tokens

    @property
    def groups(self) -> int:
        """G."""
        return self.tokens if self.along == "time" else self.frames

    @property
    def inner(self) -> int:
        """H * K, the width of one of queries, keys and values."""
        return self.heads * self.width

    def strides(self, row: int, batch: int | None = None) -> Strides:
        """The strides where rows are ``row`` elements apart and batch entries ``batch`` (None: no gap between them)."""
        batch = self.frames * self.tokens * row if batch is None else batch
        if self.along == "time":
            return Strides(batch, row, self.tokens * row)
        return Strides(batch, self.tokens * row, row)

    def parts(self, y_BSX: Floats, parts: int) -> tuple[Floats, ...]:
        """(B, S, parts * H * K) -> ``parts`` arrays (B, G, H, N, K)."""
        unfolded = y_BSX.reshape(-1, self.frames, self.tokens, parts, self.heads, self.width)
        order = (3, 0, 2, 4, 1, 5) if self.along == "time" else (3, 0, 1, 4, 2, 5)
        return tuple(unfolded.transpose(order))

    def flat(self, x_BGHNK: Floats) -> Floats:
        """(B, G, H, N, K) -> (B, S, H * K): inverse of ``parts`` for one part."""
        order = (0, 3, 1, 2, 4) if self.along == "time" else (0, 1, 3, 2, 4)
        return x_BGHNK.transpose(order).reshape(-1, self.frames * self.tokens, self.inner)
