"""Divided blocks between their two shapes: every token once, and every frame with a copy of the class token.

The stream (B, 1 + F * P, D) holds every token once. Spatial attention sees F frames of T = 1 + P tokens, in each of
which the class token comes first: (B, S, D), S = F * T, in one of two orders (``graph.rewrite.regrouping``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

# Up to here a sum over frames is written out: additions of rows become part of the kernel that reads them anyway, a
# reduction would be a kernel of its own and have its operand copied.
MOST_FRAMES_WRITTEN_OUT = 16


class ClassMask(nn.Module):
    """Which token of a frame is the class token, (1, T, 1, 1): a constant that all blocks share."""

    is_class: Tensor

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.register_buffer("is_class", torch.arange(tokens).reshape(1, -1, 1, 1) == 0)


@dataclass(frozen=True)
class Frames:
    """How the frames are joined and parted."""

    frames: int  #: F, how many there are.
    tokens: int  #: T, tokens of each.
    #: Each frame's tokens lie side by side, (F, T); otherwise the frames of each position, (T, F).
    frame_major: bool = False

    def join(self, token_B1D: Tensor, patches_BND: Tensor, is_class: Tensor) -> Tensor:
        """Class token (B, 1, D) and patches (B, F * P, D) -> frames (B, S, D). Nothing asks for the batch's size.

        ``is_class``: that of ``ClassMask``.
        """
        width = patches_BND.shape[-1]
        patches_BPFD = patches_BND.reshape(-1, self.frames, self.tokens - 1, width).transpose(1, 2)
        padded_BTFD = torch.nn.functional.pad(patches_BPFD, (0, 0, 0, 0, 1, 0))
        framed = torch.where(is_class, token_B1D[:, None], padded_BTFD)
        return (framed.transpose(1, 2) if self.frame_major else framed).reshape(-1, self.frames * self.tokens, width)

    def part(self, y_BSD: Tensor, *, alike: bool) -> Tensor:
        """Frames -> stream: of the class token's copies their mean, or the first where all are ``alike``."""
        width = y_BSD.shape[-1]
        if self.frame_major:
            y_BTFD = y_BSD.reshape(-1, self.frames, self.tokens, width).transpose(1, 2)
        else:
            y_BTFD = y_BSD.reshape(-1, self.tokens, self.frames, width)
        patches = y_BTFD[:, 1:].transpose(1, 2).reshape(-1, self.frames * (self.tokens - 1), width)
        return torch.cat((y_BTFD[:, :1, 0] if alike else self._mean_of_copies(y_BTFD), patches), dim=1)

    def in_place(self, is_class: Tensor) -> Tensor:
        """Which tokens are the class token, for tokens in place, (B, F, T, H, K) or (B, T, F, H, K): ones elsewhere."""
        is_class = is_class[..., None]
        return is_class.transpose(1, 2) if self.frame_major else is_class

    def _mean_of_copies(self, y_BTFD: Tensor) -> Tensor:
        if self.frames > MOST_FRAMES_WRITTEN_OUT:
            return y_BTFD[:, :1].mean(dim=2)
        copies = (y_BTFD[:, :1, frame] for frame in range(self.frames))
        return cast(Tensor, sum(copies)) * (1 / self.frames)
