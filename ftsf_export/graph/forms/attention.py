"""The three mechanisms on the flat stream: product, core, product; and their forms that ask for the class token alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fast_timesformer.attention import Attention, FastAttention, PerformerAttention
from ftsf_export.graph.forms.additive import AdditiveCore
from ftsf_export.graph.forms.favor import FavorCore
from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.forms.product import Product
from ftsf_export.graph.forms.regular import RegularCore
from ftsf_export.graph.forms.rotation import HalvesRotation, NeighbourRotation, RotaryTables, Rotation
from ftsf_export.graph.rewrite import Rewrites, favor_order, rotation_halves, softmax_scale


class HeadsForm(nn.Module):
    """Softmax attention and FAVOR+: normed stream (B, S, D) -> (B, S, D).

    Args:
        attention: the model's module.
        grid: which tokens attend to each other.
        tables: of the attending tokens, the class token included; None: no rotation.
        operator: softmax attention as the ONNX operator.
    """

    def __init__(
        self, attention: Attention, grid: Grid, tables: RotaryTables | None, rewrites: Rewrites, *, operator: bool
    ) -> None:
        super().__init__()
        self.grid = grid
        qkv = Product.from_linear(attention.to_qkv)
        omega = attention.omega if isinstance(attention, PerformerAttention) else None
        rotation: Rotation | None = None
        if tables is not None and rotation_halves.NAME not in rewrites:
            rotation = NeighbourRotation(tables)
        elif tables is not None:
            rotation = HalvesRotation(tables)
            qkv = rotation_halves.permuted_qkv(qkv, grid.heads, grid.width)
            omega = None if omega is None else rotation_halves.permuted(omega)
        if isinstance(attention, PerformerAttention):
            assert omega is not None
            quadratic = favor_order.NAME in rewrites and favor_order.quadratic_is_cheaper(grid, attention.features)
            self.core: nn.Module = FavorCore(omega, attention.eps, attention.kernel, rotation, quadratic=quadratic)
        else:
            scale: float | None = attention.scale
            if softmax_scale.NAME in rewrites:
                qkv, scale = softmax_scale.folded_qkv(qkv, attention.scale), None
            self.core = RegularCore(scale, rotation, operator=operator)
        self.to_qkv = qkv
        self.to_out = Product.from_linear(attention.to_out)
        self.queries_in_product = False

    def forward(self, h_BSD: Tensor) -> Tensor:
        q, k, v = self.grid.heads_first(self.to_qkv(h_BSD), 3)
        out: Tensor = self.to_out(self.grid.tokens_first(self.core(q, k, v)))
        return out


class AdditiveForm(nn.Module):
    """Additive attention: normed stream (B, S, D) -> (B, S, D). Tokens stay where they are; nothing is transposed.

    ``queries_in_product``: the output product takes (u, q) side by side instead of having q added after it.
    """

    def __init__(self, attention: FastAttention, grid: Grid, tables: RotaryTables | None) -> None:
        super().__init__()
        self.grid = grid
        self.to_qkv = Product.from_linear(attention.to_qkv)
        scale = attention.scale
        self.core = AdditiveCore(grid, attention.w_q * scale, attention.w_k * scale, tables)
        self.to_out = Product.from_linear(attention.to_out)
        self.queries_in_product = False

    def forward(self, h_BSD: Tensor) -> Tensor:
        y = self.to_qkv(h_BSD)
        grid, inner = self.grid, self.grid.heads * self.grid.width
        q_BSI = y[..., :inner]
        q, k, v = (grid.unfold(part, 1)[:, :, :, 0] for part in torch.split(y, inner, dim=-1))
        u_BSI = self.core(q, k, v).reshape(-1, grid.frames * grid.tokens, inner)
        if self.queries_in_product:
            out: Tensor = self.to_out(torch.cat((u_BSI, q_BSI), dim=-1))
            return out
        return self.to_out(u_BSI) + q_BSI


AttentionForm = HeadsForm | AdditiveForm


def attention_form(
    attention: Attention, grid: Grid, tables: RotaryTables | None, rewrites: Rewrites, *, operator: bool = False
) -> AttentionForm:
    """The export form of one of the model's attentions."""
    if isinstance(attention, FastAttention):
        return AdditiveForm(attention, grid, tables)
    return HeadsForm(attention, grid, tables, rewrites, operator=operator)
