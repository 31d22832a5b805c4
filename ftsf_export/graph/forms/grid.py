"""How the flat token stream (B, S, D) is seen by one attention: which tokens attend to each other.

The stream holds F frames of T tokens, S = F * T. Regrouping and head split are one reshape and one transpose.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ftsf_export.network.scope import Along


@dataclass(frozen=True)
class Grid:
    """The stream as one attention sees it."""

    frames: int  #: F.
    tokens: int  #: T, tokens of a frame.
    heads: int  #: H.
    width: int  #: K, width of a head.
    #: Attention goes along time, among the F tokens of a position, or along space, among the T of a frame.
    along: Along

    @property
    def attending(self) -> int:
        """N: how many tokens attend to each other."""
        return self.frames if self.along == "time" else self.tokens

    @property
    def inner(self) -> int:
        """Width of all heads."""
        return self.heads * self.width

    @property
    def groups(self) -> int:
        """How many groups of tokens attend among themselves."""
        return self.tokens if self.along == "time" else self.frames

    @property
    def split_order(self) -> tuple[int, ...]:
        """(B, F, T, H, K) -> (B, groups, H, N, K)."""
        return (0, 2, 3, 1, 4) if self.along == "time" else (0, 1, 3, 2, 4)

    @property
    def merge_order(self) -> tuple[int, ...]:
        """(B, groups, H, N, K) -> tokens in place."""
        return (0, 3, 1, 2, 4) if self.along == "time" else (0, 1, 3, 2, 4)

    def unfold(self, y_BSX: Tensor, parts: int) -> Tensor:
        """(B, S, parts * H * K) -> (B, F, T, parts, H, K)."""
        return y_BSX.reshape(-1, self.frames, self.tokens, parts, self.heads, self.width)

    def heads_first(self, y_BSX: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(B, S, parts * H * K) -> ``parts`` tensors (B, groups, H, N, K)."""
        order = (3, 0, 2, 4, 1, 5) if self.along == "time" else (3, 0, 1, 4, 2, 5)
        stacked = self.unfold(y_BSX, parts).permute(*order)
        return tuple(stacked[part] for part in range(parts))

    def first_rows(self, y_BSX: Tensor) -> Tensor:
        """The first token of each group: (B, groups, X)."""
        y_BFTX = y_BSX.reshape(-1, self.frames, self.tokens, y_BSX.shape[-1])
        return y_BFTX[:, 0] if self.along == "time" else y_BFTX[:, :, 0]

    def grouped(self, y_BSX: Tensor) -> Tensor:
        """(B, S, X) -> (B, groups, N, X)."""
        y_BFTX = y_BSX.reshape(-1, self.frames, self.tokens, y_BSX.shape[-1])
        return y_BFTX.transpose(1, 2) if self.along == "time" else y_BFTX

    def in_place(self, y_BSI: Tensor) -> Tensor:
        """(B, S, H * K) -> (B, F, T, H, K)."""
        return y_BSI.reshape(-1, self.frames, self.tokens, self.heads, self.width)

    def heads_first_one(self, y_BSI: Tensor) -> Tensor:
        """(B, S, H * K) -> (B, groups, H, N, K)."""
        return self.in_place(y_BSI).permute(*self.split_order)

    def heads_in_place(self, x_BGHNK: Tensor) -> Tensor:
        """(B, groups, H, n, K) -> tokens in place: (B, n, groups, H, K) over time, else (B, groups, n, H, K)."""
        return x_BGHNK.permute(*self.merge_order)

    def tokens_first(self, x_BGHNK: Tensor) -> Tensor:
        """(B, groups, H, N, K) -> (B, S, H * K): inverse of ``heads_first_one``."""
        return self.heads_in_place(x_BGHNK).reshape(-1, self.frames * self.tokens, self.heads * self.width)
