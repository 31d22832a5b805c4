"""Softmax attention and FAVOR+ on the flat stream: product, core, product."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fast_timesformer.attention import PerformerAttention
from ftsf_export.graph.forms.attention import AttentionParts
from ftsf_export.graph.forms.choices import Order
from ftsf_export.graph.forms.favor import FavorCore, FeaturesCore, PairsCore, WeightsCore, even_tokens
from ftsf_export.graph.forms.linear_map import LinearMap, columns
from ftsf_export.graph.forms.regular import RegularCore
from ftsf_export.graph.forms.rotation import HalvesRotation, NeighbourRotation, Rotation
from ftsf_export.graph.rewrite import attention_bias, class_values, qkv_apart, rotation_halves, softmax_scale

_CORES: dict[Order, type[FavorCore]] = {"features": FeaturesCore, "weights": WeightsCore, "pairs": PairsCore}


@dataclass(frozen=True)
class HeadsMaps:
    """The products around a core."""

    qkv: LinearMap | None  #: The packed product; None where it is apart.
    #: Those of queries, keys and values; None where they are packed.
    apart: tuple[LinearMap, LinearMap, LinearMap] | None
    query_bias: Tensor | None  #: Added to the queries after the split into heads, (H, 1, K); None: nothing is.
    out: LinearMap  #: The output projection, and what follows it.

    @classmethod
    def from_parts(cls, parts: AttentionParts) -> HeadsMaps:
        choices, grid = parts.choices, parts.choices.grid
        qkv, out, bias = parts.qkv, parts.projection(), None
        if choices.halves:
            qkv = rotation_halves.permuted_qkv(qkv, grid.heads, grid.width)
        if choices.scale_in_queries:
            qkv = softmax_scale.folded_qkv(qkv, grid.width**-0.5)
        if not choices.apart:
            return cls(qkv, None, None, parts.followed(out))
        apart = qkv_apart.apart(qkv)
        if choices.biases_moved:
            apart, out, bias = attention_bias.moved(apart, out, grid.heads, turned=parts.tables is not None)
        return cls(None, apart, bias, parts.followed(out))

    def of_class(self) -> tuple[LinearMap, LinearMap]:
        """The queries' product, and the packed one of keys and values."""
        if self.qkv is not None:
            inner = self.qkv.weight.shape[-1] // 3
            return columns(self.qkv, 0, inner), columns(self.qkv, inner, 3 * inner)
        assert self.apart is not None
        to_q, to_k, to_v = self.apart
        bias = to_q.bias if self.query_bias is None else self.query_bias.flatten()
        return LinearMap(to_q.weight, bias), LinearMap.side_by_side(to_k, to_v)


def heads_core(parts: AttentionParts) -> RegularCore | FavorCore:
    """What lies between the products."""
    choices, attention = parts.choices, parts.attention
    rotation: Rotation | None = None
    if parts.tables is not None:
        kind = HalvesRotation if choices.halves else NeighbourRotation
        rotation = kind(parts.tables, in_place=choices.order == "pairs")
    if isinstance(attention, PerformerAttention):
        omega = rotation_halves.permuted(attention.omega) if choices.halves else attention.omega
        return _CORES[choices.order](omega, attention.eps, attention.kernel, rotation)
    return RegularCore(
        None if choices.scale_in_queries else choices.grid.width**-0.5, rotation, operator=parts.operator
    )


class HeadsForm(nn.Module):
    """Every token asks: normed stream (B, S, D) -> (B, S, D), or (B, 1 + F * P, D) where it parts the frames."""

    query_bias: nn.Parameter | None

    def __init__(self, parts: AttentionParts) -> None:
        super().__init__()
        self.grid = parts.choices.grid
        # Few tokens are mixed where they lie; products of matrices want the heads first.
        self.in_place = parts.choices.order == "pairs"
        self.apart = parts.choices.apart
        products = HeadsMaps.from_parts(parts)
        self.core = heads_core(parts)
        if products.apart is not None:
            self.to_q, self.to_k, self.to_v = products.apart
        elif products.qkv is not None:
            self.to_qkv = products.qkv
        self.to_out = products.out
        bias = products.query_bias
        self.query_bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        # Of frames alone the mean of the class token's copies is taken here, before the projection.
        self.frames = parts.frames if parts.choices.mean_first else None

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
        out: Tensor = self.to_out(mixed_BSI if self.frames is None else self.frames.part(mixed_BSI, alike=False))
        return out


class HeadsClassForm(nn.Module):
    """The class token alone asks: normed stream (B, S, D) -> (B, 1, D), or (B, F, D) with frames apart."""

    def __init__(self, parts: AttentionParts) -> None:
        super().__init__()
        self.grid, self.frames_apart = parts.choices.grid, parts.frames_apart
        products = HeadsMaps.from_parts(parts)
        self.to_q, self.to_kv = products.of_class()
        self.core = heads_core(parts)
        self.to_out = products.out

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


class FavorValuesForm(nn.Module):
    """The same for FAVOR+, with the values' product after the mixture (``graph.rewrite.class_values``)."""

    core: WeightsCore

    def __init__(self, parts: AttentionParts) -> None:
        super().__init__()
        grid = parts.choices.grid
        self.grid, self.frames_apart = grid, parts.frames_apart
        products = HeadsMaps.from_parts(parts)
        self.to_q, to_kv = products.of_class()
        self.to_k = columns(to_kv, 0, grid.inner)
        self.values = class_values.HeadValues(columns(to_kv, grid.inner, 2 * grid.inner), grid.heads)
        self.core = heads_core(parts)  # type: ignore[assignment]  # of one query always weights
        self.to_out = products.out

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


def favor_class_form(parts: AttentionParts) -> nn.Module:
    """FAVOR+ asked by the class token alone, with the values' product where the rewrites have chosen it."""
    return FavorValuesForm(parts) if parts.choices.values_last else HeadsClassForm(parts)
