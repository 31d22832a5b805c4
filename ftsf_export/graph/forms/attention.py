"""The three mechanisms on the flat stream: product, core, product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fast_timesformer.attention import Attention, FastAttention, PerformerAttention
from ftsf_export.graph.forms.additive import AdditiveCore
from ftsf_export.graph.forms.favor import FavorCore, FeaturesCore, PairsCore, WeightsCore
from ftsf_export.graph.forms.frames import Frames
from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.forms.plugin import PluginForm
from ftsf_export.graph.forms.product import Norm, Product, columns
from ftsf_export.graph.forms.regular import RegularCore
from ftsf_export.graph.forms.rotation import HalvesRotation, NeighbourRotation, RotaryTables, Rotation
from ftsf_export.graph.rewrite import (
    Rewrites,
    additive_fusion,
    attention_bias,
    favor_order,
    norm_affine,
    qkv_apart,
    rotation_halves,
    softmax_scale,
    temporal_fc,
)

_CORES: dict[favor_order.Order, type[FavorCore]] = {
    "features": FeaturesCore,
    "weights": WeightsCore,
    "pairs": PairsCore,
}


class HeadsForm(nn.Module):
    """Softmax attention and FAVOR+: normed stream (B, S, D) -> (B, S, D).

    Args:
        attention: the model's module.
        qkv: its packed product, which may hold more than its own weights (``graph.rewrite.norm_affine``).
        grid: which tokens attend to each other.
        tables: of the attending tokens, the class token included; None: no rotation.
        operator: softmax attention as the ONNX operator.
        class_only: the class token alone will ask.
        one_clip: every call is one clip.
    """

    def __init__(
        self,
        attention: Attention,
        qkv: Product,
        grid: Grid,
        tables: RotaryTables | None,
        rewrites: Rewrites,
        *,
        operator: bool,
        class_only: bool,
        one_clip: bool,
    ) -> None:
        super().__init__()
        self.grid = grid
        order = _favor_order(attention, grid, rewrites, class_only=class_only)
        # Few tokens are mixed where they lie; products of matrices want the heads first.
        self.in_place = order == "pairs"
        halves = rotation_halves.NAME in rewrites
        rotation = _rotation(tables, halves=halves, in_place=self.in_place)
        if rotation is not None and halves:
            qkv = rotation_halves.permuted_qkv(qkv, grid.heads, grid.width)
        self.core: nn.Module
        if isinstance(attention, PerformerAttention):
            omega = rotation_halves.permuted(attention.omega) if rotation is not None and halves else attention.omega
            self.core = _CORES[order or "features"](omega, attention.eps, attention.kernel, rotation)
        else:
            scale: float | None = attention.scale
            if softmax_scale.NAME in rewrites:
                qkv, scale = softmax_scale.folded_qkv(qkv, attention.scale), None
            self.core = RegularCore(scale, rotation, operator=operator)
        # Over whole frames in a row a compiler would write the normed stream in another order for three products, in
        # FP32: packed is the cheaper one there. FAVOR+ by features copies all three anyway, and so does softmax
        # attention of several clips, where clip, position and head are no single stride.
        packed = isinstance(self.core, FeaturesCore) or (isinstance(self.core, RegularCore) and not one_clip)
        self.apart = qkv_apart.NAME in rewrites and grid.along == "time" and not packed
        if self.apart:
            self.to_q, self.to_k, self.to_v = qkv_apart.apart(qkv)
        else:
            self.to_qkv = qkv
        self.to_out = Product.from_linear(attention.to_out)
        # Shared with all blocks, and no child of any of them.
        self._frames: tuple[Frames | None] = (None,)
        self.query_bias: nn.Parameter | None = None
        if attention_bias.NAME in rewrites and self.apart and isinstance(self.core, RegularCore):
            self._move_biases(turned=rotation is not None)

    def forward(self, h_BSD: Tensor) -> Tensor:
        grid = self.grid
        if self.apart:
            split = grid.in_place if self.in_place else grid.heads_first_one
            q, k, v = (split(to(h_BSD)) for to in (self.to_q, self.to_k, self.to_v))
            if self.query_bias is not None:
                q = q + self.query_bias
        elif self.in_place:
            q, k, v = grid.unfold(self.to_qkv(h_BSD), 3).unbind(3)
        else:
            q, k, v = grid.heads_first(self.to_qkv(h_BSD), 3)
        mixed = self.core(q, k, v)
        mixed_BSI = (
            mixed.reshape(-1, grid.frames * grid.tokens, grid.inner) if self.in_place else grid.tokens_first(mixed)
        )
        (frames,) = self._frames
        out: Tensor = self.to_out(mixed_BSI if frames is None else frames.part(mixed_BSI, alike=False))
        return out

    @property
    def divides(self) -> bool:
        """Whether a division comes after the last product."""
        return isinstance(self.core, FeaturesCore)

    def part(self, frames: Frames) -> None:
        """From now on give (B, 1 + F * P, D): the class token once, with the mean of what its copies got."""
        self._frames = (frames,)

    def fold(self, fc: Product) -> None:
        """Take the linear map that follows into this attention's own product."""
        self.to_out = temporal_fc.folded(self.to_out, fc)

    def _move_biases(self, *, turned: bool) -> None:
        """``turned``: queries and keys are rotated, each token by its own angle; their biases then stay."""
        self.to_out = attention_bias.carried(self.to_v, self.to_out)
        self.to_v = attention_bias.without_bias(self.to_v)
        bias = attention_bias.query_bias(self.to_q, self.grid.heads)
        if bias is not None and not turned:
            self.query_bias = nn.Parameter(bias, requires_grad=False)
            self.to_q, self.to_k = (attention_bias.without_bias(product) for product in (self.to_q, self.to_k))

    def class_products(self) -> tuple[Product, Product]:
        """The queries' product, and the packed one of keys and values."""
        if self.apart:
            bias = self.to_q.bias if self.query_bias is None else self.query_bias.flatten()
            return Product(self.to_q.weight, bias), Product.side_by_side(self.to_k, self.to_v)
        inner = self.grid.heads * self.grid.width
        return columns(self.to_qkv, 0, inner), columns(self.to_qkv, inner, 3 * inner)


def _favor_order(attention: Attention, grid: Grid, rewrites: Rewrites, *, class_only: bool) -> favor_order.Order | None:
    """Of performer's products; None for another mechanism."""
    if not isinstance(attention, PerformerAttention):
        return None
    if favor_order.NAME not in rewrites:
        return "features"
    return favor_order.cheapest_order(grid, attention.features, attention.kernel, class_only=class_only)


def _rotation(tables: RotaryTables | None, *, halves: bool, in_place: bool) -> Rotation | None:
    if tables is None:
        return None
    return HalvesRotation(tables, in_place=in_place) if halves else NeighbourRotation(tables, in_place=in_place)


class AdditiveForm(nn.Module):
    """Additive attention: normed stream (B, S, D) -> (B, S, D). Tokens stay where they are; nothing is transposed."""

    def __init__(
        self, attention: FastAttention, qkv: Product, grid: Grid, tables: RotaryTables | None, rewrites: Rewrites
    ) -> None:
        super().__init__()
        self.grid = grid
        self.apart = qkv_apart.NAME in rewrites
        if self.apart:
            self.to_q, self.to_k, self.to_v = qkv_apart.apart(qkv)
        else:
            self.to_qkv = qkv
        scale = attention.scale
        self.core = AdditiveCore(
            grid,
            attention.w_q * scale,
            attention.w_k * scale,
            tables,
            as_attention=additive_fusion.NAME in rewrites,
        )
        self.to_out = Product.from_linear(attention.to_out)
        # What is added after the output projection: the queries, or their product with the map that follows.
        self.to_rest: Product | None = None
        # Shared with all blocks, and no child of any of them.
        self._frames: tuple[Frames | None] = (None,)

    def forward(self, h_BSD: Tensor) -> Tensor:
        grid, inner = self.grid, self.grid.heads * self.grid.width
        if self.apart:
            # Queries and keys are multiplied as frames, the values not: of one shape, a compiler would make one product
            # of all, and copy queries and keys out of it for the kernels that pool them.
            h_BFTD = h_BSD.reshape(-1, grid.frames, grid.tokens, h_BSD.shape[-1])
            q_BSI, k_BSI = (to(h_BFTD).reshape(-1, grid.frames * grid.tokens, inner) for to in (self.to_q, self.to_k))
            v_BSI = self.to_v(h_BSD)
        else:
            q_BSI, k_BSI, v_BSI = torch.split(self.to_qkv(h_BSD), inner, dim=-1)
        q, k = grid.heads_first_one(q_BSI), grid.heads_first_one(k_BSI)
        v = grid.in_place(v_BSI)
        (frames,) = self._frames
        is_class = None if frames is None else frames.class_in_place()
        u_BSI = self.core(q, k, v, is_class).reshape(-1, grid.frames * grid.tokens, inner)
        rest: Tensor = q_BSI if self.to_rest is None else self.to_rest(h_BSD)
        out: Tensor = self.to_out(u_BSI) + rest
        return out

    def share_class(self, frames: Frames) -> None:
        """From now on give each of the class token's copies the mean over frames of what they would get."""
        self._frames = (frames,)

    def fold(self, fc: Product) -> None:
        """Take the linear map that follows into this attention's own products."""
        self.to_out = temporal_fc.folded(self.to_out, fc)
        self.to_rest = temporal_fc.folded_queries(self.class_products()[0], fc)

    def class_products(self) -> tuple[Product, Product, Product]:
        """The products of queries, keys and values."""
        return (self.to_q, self.to_k, self.to_v) if self.apart else qkv_apart.apart(self.to_qkv)


AttentionForm = HeadsForm | AdditiveForm | PluginForm


def attention_form(
    norm: nn.LayerNorm,
    attention: Attention,
    grid: Grid,
    tables: RotaryTables | None,
    rewrites: Rewrites,
    *,
    operator: bool = False,
    plugin: bool = False,
    class_only: bool = False,
    one_clip: bool = True,
) -> tuple[Norm, AttentionForm]:
    """Export forms of a norm and of the attention behind it; arguments as of ``HeadsForm``. ``plugin``: one node."""
    normed, qkv = norm_affine.entered(norm, attention.to_qkv, rewrites)
    if plugin:
        return normed, PluginForm(attention, qkv, grid, tables)
    if isinstance(attention, FastAttention):
        return normed, AdditiveForm(attention, qkv, grid, tables, rewrites)
    return normed, HeadsForm(
        attention, qkv, grid, tables, rewrites, operator=operator, class_only=class_only, one_clip=one_clip
    )
