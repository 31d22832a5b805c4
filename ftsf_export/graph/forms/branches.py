"""The branches of a block on the flat stream: (B, S, D) in, what is to be added to it out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fast_timesformer.blocks import MlpBranch
from ftsf_export.graph.forms.choices import Choices
from ftsf_export.graph.forms.frames import Frames
from ftsf_export.graph.forms.linear_map import LinearMap, Norm
from ftsf_export.graph.rewrite import geglu_split, norm_affine


class TemporalForm(nn.Module):
    """Norm, attention over time, ``fc``: patches (B, F * P, D) -> the same. The class token takes no part.

    ``fc``: None where it is part of the attention's own product.
    """

    def __init__(self, norm: Norm, attn: nn.Module, fc: LinearMap | None) -> None:
        super().__init__()
        self.norm = norm
        self.attn = attn
        self.fc = fc

    def forward(self, x_BND: Tensor) -> Tensor:
        y: Tensor = self.attn(self.norm(x_BND))
        return y if self.fc is None else self.fc(y)


class TokensForm(nn.Module):
    """Norm and attention within each frame (``spatial``) or over the whole clip (``joint``): (B, S, D) -> the same.

    Args:
        attn: for all tokens, or for the class token alone: then (B, 1 or F, D) comes out.
        frames: to be parted after the attention, in divided blocks: the result holds the class token once, (B, 1 + F *
            P, D), with the mean over frames of what its copies got. None: what the attention gives is the result.
        alike: the attention gives all copies of the class token the same.
    """

    def __init__(self, norm: Norm, attn: nn.Module, frames: Frames | None = None, *, alike: bool = False) -> None:
        super().__init__()
        self.norm = norm
        self.attn = attn
        self.frames, self.alike = frames, alike

    def forward(self, x_BSD: Tensor) -> Tensor:
        y_BSD: Tensor = self.attn(self.norm(x_BSD))
        return y_BSD if self.frames is None else self.frames.part(y_BSD, alike=self.alike)


class MlpForm(nn.Module):
    """Norm and MLP, each token alone: (B, n, D) -> the same."""

    def __init__(self, branch: MlpBranch, choices: Choices) -> None:
        super().__init__()
        self.norm, fc1 = norm_affine.entered(branch.norm, branch.fc1, folded=choices.norm_in_product)
        self.gated = branch.gated
        self.split = choices.gate_apart
        if self.split:
            self.fc1_value, self.fc1_gate = geglu_split.split(fc1)
        else:
            self.fc1 = fc1
        self.fc2 = LinearMap.from_linear(branch.fc2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self._hidden(self.norm(x)))
        return out

    def _hidden(self, h: Tensor) -> Tensor:
        gelu = torch.nn.functional.gelu
        if self.split:
            gated: Tensor = self.fc1_value(h) * gelu(self.fc1_gate(h))
            return gated
        hidden: Tensor = self.fc1(h)
        if not self.gated:
            return gelu(hidden)
        value, gate = torch.chunk(hidden, 2, dim=-1)
        return value * gelu(gate)
