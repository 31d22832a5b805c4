"""Blocks: stream in, stream out. The last one may compute the class token alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ftsf_export.graph.forms.branches import MlpForm, TemporalForm
from ftsf_export.graph.forms.frames import Frames
from ftsf_export.network.scope import SPATIAL


class BlockForm(nn.Module):
    """Attention among tokens, MLP: stream (B, S, D) -> the same.

    Args:
        tokens_name: ``spatial`` or ``joint``, the branch's name in the model.
        tokens: that branch.
    """

    def __init__(self, tokens_name: str, tokens: nn.Module, mlp: MlpForm) -> None:
        super().__init__()
        self.tokens_name = tokens_name
        self.add_module(tokens_name, tokens)
        self.mlp = mlp

    def forward(self, x_BSD: Tensor) -> Tensor:
        x_BSD = x_BSD + self.get_submodule(self.tokens_name)(x_BSD)
        out: Tensor = x_BSD + self.mlp(x_BSD)
        return out


class DividedBlockForm(BlockForm):
    """Attention over time among the patches, attention within each frame, MLP: (B, 1 + F * P, D) -> the same.

    The stream holds the class token once; only spatial attention sees a copy of it in each frame.
    """

    is_class: Tensor

    def __init__(
        self, temporal: TemporalForm, spatial: nn.Module, mlp: MlpForm, frames: Frames, is_class: Tensor
    ) -> None:
        super().__init__(SPATIAL.name, spatial, mlp)
        self.temporal = temporal
        self.frames = frames
        self.register_buffer("is_class", is_class)

    def forward(self, x_BND: Tensor) -> Tensor:
        token, patches, framed = self.framed(x_BND)
        x_BND = torch.cat((token, patches), dim=1) + self.get_submodule(SPATIAL.name)(framed)
        out: Tensor = x_BND + self.mlp(x_BND)
        return out

    def framed(self, x_BND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """After the temporal branch: class token (B, 1, D), patches (B, F * P, D), frames (B, S, D)."""
        token, patches = x_BND[:, :1], x_BND[:, 1:]
        patches = patches + self.temporal(patches)
        return token, patches, self.frames.join(token, patches, self.is_class)


class TailBlockForm(BlockForm):
    """The last block, for the class tokens alone: stream (B, S, D) -> (B, F, D), F copies of T = S / F tokens.

    Args:
        frames: how many class tokens the stream holds.
    """

    def __init__(self, tokens_name: str, tokens: nn.Module, mlp: MlpForm, frames: int) -> None:
        super().__init__(tokens_name, tokens, mlp)
        self.frames = frames

    def forward(self, x_BSD: Tensor) -> Tensor:
        rows = x_BSD.reshape(-1, self.frames, x_BSD.shape[1] // self.frames, x_BSD.shape[-1])[:, :, 0]
        rows = rows + self.get_submodule(self.tokens_name)(x_BSD)
        out: Tensor = rows + self.mlp(rows)
        return out


class DividedTailBlockForm(DividedBlockForm):
    """The last divided block, for the class token alone: (B, 1 + F * P, D) -> (B, 1, D)."""

    def forward(self, x_BND: Tensor) -> Tensor:
        token, _, framed = self.framed(x_BND)
        token = token + self.get_submodule(SPATIAL.name)(framed)
        out: Tensor = token + self.mlp(token)
        return out
