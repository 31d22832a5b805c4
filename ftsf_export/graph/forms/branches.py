"""The branches of a block on the flat stream: (B, S, D) in, what is to be added to it out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fast_timesformer.blocks import MlpBranch
from ftsf_export.graph.forms.attention import AdditiveForm, AttentionForm, HeadsForm
from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.forms.product import Norm, Product
from ftsf_export.graph.forms.rows import Rows
from ftsf_export.graph.rewrite import Rewrites, additive_class, geglu_split, temporal_fc


class TemporalForm(nn.Module):
    """Norm, attention over time, ``fc``. The class token's copies take no part: their rows come out as zero.

    They do go through the attention, among themselves: leaving them out would cut a piece out of every tensor, which
    costs a copy of it; taking them along costs F rows in S.
    """

    def __init__(self, norm: nn.LayerNorm, attn: AttentionForm, fc: nn.Linear, rows: Rows, rewrites: Rewrites) -> None:
        super().__init__()
        self.norm = Norm(norm)
        self.attn = attn
        self.fc: Product | None = Product.from_linear(fc)
        if temporal_fc.NAME in rewrites:
            attn.fold(self.fc)
            self.fc = None
        self.rows = rows

    def forward(self, x_BSD: Tensor) -> Tensor:
        y = self.attn(self.norm(x_BSD))
        if self.fc is not None:
            y = self.fc(y)
        return self.rows.without_class(y)


class TokensForm(nn.Module):
    """Norm and attention within each frame (``spatial``) or over the whole clip (``joint``).

    ``rows``, in divided blocks only: the class token's copies get the mean over frames of what each of them got.
    """

    def __init__(self, norm: nn.LayerNorm, attn: AttentionForm, rows: Rows | None, rewrites: Rewrites) -> None:
        super().__init__()
        self.norm = Norm(norm)
        self.attn = attn
        self.rows = rows
        if rows is not None and additive_class.NAME in rewrites and isinstance(attn, AdditiveForm):
            attn.share_class(rows)
            self.rows = None

    def forward(self, x_BSD: Tensor) -> Tensor:
        y_BSD: Tensor = self.attn(self.norm(x_BSD))
        return y_BSD if self.rows is None else self.rows.share_class(y_BSD)


class MlpForm(nn.Module):
    """Norm and MLP, each token alone: (B, n, D) -> the same."""

    def __init__(self, branch: MlpBranch, rewrites: Rewrites) -> None:
        super().__init__()
        self.norm = Norm(branch.norm)
        self.gated = branch.gated
        fc1 = Product.from_linear(branch.fc1)
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

    def __init__(self, norm: nn.LayerNorm, attn: AttentionForm, *, frames_apart: bool) -> None:
        super().__init__()
        self.norm = Norm(norm)
        self.attn: nn.Module
        if isinstance(attn, HeadsForm):
            self.attn = HeadsClassForm(attn, frames_apart=frames_apart)
        elif isinstance(attn, AdditiveForm):
            self.attn = AdditiveClassForm(attn, frames_apart=frames_apart)
        else:
            raise TypeError(f"expected a decomposed attention, got {type(attn).__name__}: it gives every token")

    def forward(self, x_BSD: Tensor) -> Tensor:
        out: Tensor = self.attn(self.norm(x_BSD))
        return out


def class_rows(x_BSD: Tensor, grid: Grid) -> Tensor:
    """The class token's copy of each frame: (B, F, D)."""
    return x_BSD.reshape(-1, grid.frames, grid.tokens, x_BSD.shape[-1])[:, :, 0]


class HeadsClassForm(nn.Module):
    """Softmax attention or FAVOR+ asked by the class token alone: normed stream (B, S, D) -> (B, 1 or F, D)."""

    def __init__(self, form: HeadsForm, *, frames_apart: bool) -> None:
        super().__init__()
        self.grid, self.frames_apart = form.grid, frames_apart
        self.to_q, self.to_kv = form.class_products()
        self.core = form.core
        self.to_out = form.to_out

    def forward(self, h_BSD: Tensor) -> Tensor:
        grid = self.grid
        k, v = grid.heads_first(self.to_kv(h_BSD), 2)
        q = self.to_q(class_rows(h_BSD, grid)).reshape(-1, grid.frames, grid.heads, 1, grid.width)
        mixed = self.core(q, k, v, query_is_class=True)
        if not self.frames_apart:
            mixed = mixed.mean(dim=1, keepdim=True)
        rows = grid.frames if self.frames_apart else 1
        out: Tensor = self.to_out(mixed.reshape(-1, rows, grid.heads * grid.width))
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
        v = self.to_v(class_rows(h_BSD, grid)).reshape(-1, grid.frames, 1, grid.heads, grid.width)
        u = self.core(q, k, v).reshape(-1, grid.frames, inner)
        out: Tensor = self.to_out(u) + class_rows(q_BSI, grid)
        return out if self.frames_apart else out.mean(dim=1, keepdim=True)
