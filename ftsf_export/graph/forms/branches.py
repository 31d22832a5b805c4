"""The branches of a block on the flat stream: (B, S, D) in, what is to be added to it out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fast_timesformer.blocks import MlpBranch
from ftsf_export.graph.forms.attention import AdditiveForm, AttentionForm, HeadsForm
from ftsf_export.graph.forms.favor import WeightsCore, even_tokens
from ftsf_export.graph.forms.frames import Frames
from ftsf_export.graph.forms.product import Norm, Product, columns
from ftsf_export.graph.rewrite import (
    Rewrites,
    additive_class,
    class_mean,
    class_values,
    geglu_split,
    norm_affine,
    temporal_fc,
)


class TemporalForm(nn.Module):
    """Norm, attention over time, ``fc``: patches (B, F * P, D) -> the same. The class token takes no part."""

    def __init__(self, norm: Norm, attn: AttentionForm, fc: nn.Linear, rewrites: Rewrites) -> None:
        super().__init__()
        self.norm = norm
        self.attn = attn
        self.fc: Product | None = Product.from_linear(fc)
        if temporal_fc.NAME in rewrites:
            attn.fold(self.fc)
            self.fc = None

    def forward(self, x_BND: Tensor) -> Tensor:
        y: Tensor = self.attn(self.norm(x_BND))
        return y if self.fc is None else self.fc(y)


class TokensForm(nn.Module):
    """Norm and attention within each frame (``spatial``) or over the whole clip (``joint``): (B, S, D) -> the same.

    ``frames``, in divided blocks only: the result holds the class token once, (B, 1 + F * P, D), with the mean over
    frames of what its copies got.
    """

    def __init__(self, norm: Norm, attn: AttentionForm, frames: Frames | None, rewrites: Rewrites) -> None:
        super().__init__()
        self.norm = norm
        self.attn = attn
        self.alike = frames is not None and additive_class.NAME in rewrites and isinstance(attn, AdditiveForm)
        if frames is not None and isinstance(attn, AdditiveForm) and self.alike:
            attn.share_class(frames)
        if frames is not None and isinstance(attn, HeadsForm) and attn.divides and class_mean.NAME in rewrites:
            attn.part(frames)
            frames = None
        # Shared with all blocks, and no child of any of them.
        self._frames = (frames,)

    def forward(self, x_BSD: Tensor) -> Tensor:
        y_BSD: Tensor = self.attn(self.norm(x_BSD))
        (frames,) = self._frames
        return y_BSD if frames is None else frames.part(y_BSD, alike=self.alike)


class MlpForm(nn.Module):
    """Norm and MLP, each token alone: (B, n, D) -> the same."""

    def __init__(self, branch: MlpBranch, rewrites: Rewrites) -> None:
        super().__init__()
        self.norm, fc1 = norm_affine.entered(branch.norm, branch.fc1, rewrites)
        self.gated = branch.gated
        self.split = branch.gated and geglu_split.NAME in rewrites
        if self.split:
            self.fc1_value, self.fc1_gate = geglu_split.split(fc1)
        else:
            self.fc1 = fc1
        self.fc2 = Product.from_linear(branch.fc2)

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


class ClassAttentionForm(nn.Module):
    """Norm and attention for the class token alone: stream (B, S, D) -> (B, 1, D), or (B, F, D) with ``frames_apart``.

    Args:
        attn: the form for all tokens, whose weights are taken over.
        frames_apart: each frame keeps a class token of its own; otherwise their mean over frames is the result.
    """

    def __init__(self, norm: Norm, attn: AttentionForm, rewrites: Rewrites, *, frames_apart: bool) -> None:
        super().__init__()
        self.norm = norm
        self.attn: nn.Module
        if isinstance(attn, HeadsForm) and isinstance(attn.core, WeightsCore) and class_values.NAME in rewrites:
            self.attn = FavorClassForm(attn, attn.core, frames_apart=frames_apart)
        elif isinstance(attn, HeadsForm):
            self.attn = HeadsClassForm(attn, frames_apart=frames_apart)
        elif isinstance(attn, AdditiveForm):
            self.attn = AdditiveClassForm(attn, frames_apart=frames_apart)
        else:
            raise TypeError(f"expected a decomposed attention, got {type(attn).__name__}: it gives every token")

    def forward(self, x_BSD: Tensor) -> Tensor:
        out: Tensor = self.attn(self.norm(x_BSD))
        return out


class HeadsClassForm(nn.Module):
    """Softmax attention or FAVOR+ asked by the class token alone: normed stream (B, S, D) -> (B, 1 or groups, D)."""

    def __init__(self, form: HeadsForm, *, frames_apart: bool) -> None:
        super().__init__()
        self.grid, self.frames_apart = form.grid, frames_apart
        self.to_q, self.to_kv = form.class_products()
        self.core = form.core
        self.to_out = form.to_out

    def forward(self, h_BSD: Tensor) -> Tensor:
        grid = self.grid
        k, v = grid.heads_first(self.to_kv(h_BSD), 2)
        q = self.to_q(grid.first_rows(h_BSD)).reshape(-1, grid.groups, grid.heads, 1, grid.width)
        mixed = self.core(q, k, v, query_is_class=True)
        if not self.frames_apart:
            mixed = mixed.mean(dim=1, keepdim=True)
        rows = grid.groups if self.frames_apart else 1
        out: Tensor = self.to_out(mixed.reshape(-1, rows, grid.heads * grid.width))
        return out


class FavorClassForm(nn.Module):
    """The same for FAVOR+, with the values' product after the mixture (``graph.rewrite.class_values``)."""

    def __init__(self, form: HeadsForm, core: WeightsCore, *, frames_apart: bool) -> None:
        super().__init__()
        self.grid, self.frames_apart = form.grid, frames_apart
        self.to_q, to_kv = form.class_products()
        inner = form.grid.heads * form.grid.width
        self.to_k = columns(to_kv, 0, inner)
        self.values = class_values.HeadValues(columns(to_kv, inner, 2 * inner), form.grid.heads)
        self.core = core
        self.to_out = form.to_out

    def forward(self, h_BSD: Tensor) -> Tensor:
        grid = self.grid
        k = grid.heads_first_one(self.to_k(h_BSD))
        q = self.to_q(grid.first_rows(h_BSD)).reshape(-1, grid.groups, grid.heads, 1, grid.width)
        weights = self.core.weights(q, k, query_is_class=True)
        # All heads mix the same normed tokens.
        h_BGND = even_tokens(grid.grouped(h_BSD))
        mixed = torch.matmul(weights.reshape(-1, grid.groups, grid.heads, h_BGND.shape[-2]), h_BGND)
        if not self.frames_apart:
            mixed = mixed.mean(dim=1, keepdim=True)
        rows = grid.groups if self.frames_apart else 1
        out: Tensor = self.to_out(self.values(mixed).reshape(-1, rows, grid.heads * grid.width))
        return out


class AdditiveClassForm(nn.Module):
    """Additive attention for the class token alone: every query and key is pooled, one value is multiplied."""

    def __init__(self, form: AdditiveForm, *, frames_apart: bool) -> None:
        super().__init__()
        self.grid, self.frames_apart = form.grid, frames_apart
        self.to_q, self.to_k, self.to_v = form.class_products()
        self.core = form.core
        self.to_out = form.to_out

    def forward(self, h_BSD: Tensor) -> Tensor:
        grid, inner = self.grid, self.grid.heads * self.grid.width
        q_BSI = self.to_q(h_BSD)
        q, k = grid.heads_first_one(q_BSI), grid.heads_first_one(self.to_k(h_BSD))
        v = self.to_v(grid.first_rows(h_BSD)).reshape(-1, grid.groups, grid.heads, 1, grid.width)
        u = self.core(q, k, grid.heads_in_place(v)).reshape(-1, grid.groups, inner)
        out: Tensor = self.to_out(u) + grid.first_rows(q_BSI)
        return out if self.frames_apart else out.mean(dim=1, keepdim=True)
