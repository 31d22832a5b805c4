"""Linear attentions, and softmax attention with its rotation, as one node each, from the packed product to the input of
the output projection.

Traced for ONNX a core is a node of the domain ``ftsf`` (``graph.plugin_ops``); run by PyTorch it computes its own
``decomposed`` form, which ``graph.plugin_functions`` makes the node's function of. Inside a node no rewrite applies: it
is the equation of the paper on the model's own weights, as the plugin's ``reference.py`` has it. What stands before and
after it is rewritten as ever. The class token alone (the last block) needs no kernel over all tokens: it stays
decomposed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from fast_timesformer.attention import FastAttention, PerformerAttention, RegularAttention
from ftsf_export.graph.forms.additive import AdditivePool
from ftsf_export.graph.forms.attention import AttentionParts
from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.forms.island import FeatureExponential, IslandModule, Quotient, Shares
from ftsf_export.graph.forms.linear_map import LinearMap, columns
from ftsf_export.graph.forms.regular import RegularCore
from ftsf_export.graph.forms.rotation import RotaryTables
from ftsf_export.graph.plugin_ops import ADDITIVE, DOMAIN, DOMAIN_VERSION, FAVOR, ROTARY, PluginOp
from ftsf_export.graph.rewrite import temporal_fc
from ftsf_export.mechanisms import ExportedMechanism, loaded

# TensorRT hands a node's attributes to its plugin by type; ints, floats and strings are all it needs.
Attribute = int | float | str | bool | Sequence[int] | Sequence[float] | Sequence[str] | Sequence[bool]


class PluginForm(nn.Module):
    """Normed stream (B, S, D) -> (B, S, D): one packed product, the node, the output projection."""

    def __init__(self, mechanism: ExportedMechanism, parts: AttentionParts) -> None:
        super().__init__()
        if mechanism.plugin is None:
            raise TypeError(f"{mechanism.name} attention has no plugin: it cannot be one node")
        if mechanism.plugin.rotated_only and parts.tables is None:
            raise TypeError(f"{mechanism.name} attention without rotary positions has no plugin: it cannot be one node")
        grid = parts.choices.grid
        self.inner = grid.inner
        self.to_qkv = parts.qkv
        self.core: PluginCore = loaded(mechanism.plugin.core)(parts.attention, grid, parts.tables)
        self.to_out = parts.followed(parts.projection())
        # Additive attention adds its queries, or their product with the map that follows, after the projection.
        self.adds_queries = mechanism.module.adds_queries
        self.to_rest: LinearMap | None = None
        if self.adds_queries and parts.fc is not None:
            self.to_rest = temporal_fc.folded_queries(columns(parts.qkv, 0, self.inner), parts.fc)

    def forward(self, h_BSD: Tensor) -> Tensor:
        qkv_BSX = self.to_qkv(h_BSD)
        out: Tensor = self.to_out(self.core(qkv_BSX))
        if not self.adds_queries:
            return out
        rest: Tensor = qkv_BSX[..., : self.inner] if self.to_rest is None else self.to_rest(h_BSD)
        return out + rest


class Angles(IslandModule):
    """Positions (N, A) and frequencies (A, I; turns a unit of position) -> cosines and sines (N, I)."""

    reason = "angles are whole turns and a fraction: half precision rounds the fraction away"

    def forward(self, positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
        # Multiplied and summed: as a matrix product the compiler might take it in TF32.
        turns = (positions[:, :, None] * frequencies).sum(dim=1)
        angles = (turns - torch.round(turns)) * (2 * torch.pi)
        return torch.cos(angles), torch.sin(angles)


class FeatureSums(IslandModule):
    """Sum over the keys of their features (..., N, M), kept (..., 1, M)."""

    reason = Quotient.reason

    def forward(self, phi_k: Tensor) -> Tensor:
        return phi_k.sum(dim=-2, keepdim=True)


class FeatureWeights(IslandModule):
    """Weights of the features for every query, summing to one: features (..., N, M), key sums (..., 1, M)."""

    reason = Quotient.reason

    def forward(self, phi_q: Tensor, sums: Tensor) -> Tensor:
        weighted = phi_q * sums
        return weighted / weighted.sum(dim=-1, keepdim=True)


class Reorder(nn.Module):
    """A change of the tokens' order as a module, so that its path says which Transpose of the graph it is."""

    def __init__(self, order: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return self.order(x)


class PluginCore(nn.Module):
    """One node: packed (B, S, 3 * H * K) -> (B, S, H * K).

    Without rotation positions and frequencies are there, as the plugin's arguments, and nothing reads them.
    """

    op: ClassVar[PluginOp]
    # The submodules whose Transposes take their order from the node's attribute of that name.
    ordered: ClassVar[dict[str, str]] = {"split": "split_order", "merge": "merge_order"}

    def __init__(self, grid: Grid, tables: RotaryTables | None, like: Tensor) -> None:
        """``like``: a weight, for its element type."""
        super().__init__()
        self.grid, self.rotated = grid, tables is not None
        if tables is None:
            nothing = (like.new_zeros(grid.attending, 1), like.new_zeros(1, grid.width // 2))
            positions, frequencies = (nn.Parameter(zeros, requires_grad=False) for zeros in nothing)
        else:
            positions, frequencies = tables.positions_and_frequencies()
            self.turns = Angles()
        self.positions, self.frequencies = positions, frequencies
        self.split, self.merge = Reorder(grid.heads_first_one), Reorder(grid.heads_in_place)

    def forward(self, qkv_BSX: Tensor) -> Tensor:
        constants = [self.get_parameter(name) for name in self.op.inputs[1:]]
        if not torch.onnx.is_in_onnx_export():
            return self.decomposed(qkv_BSX, *constants)
        grid = self.grid
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::{self.op.name}",
            [qkv_BSX, *constants],
            self.attributes(),
            dtype=qkv_BSX.dtype,
            shape=(qkv_BSX.shape[0], grid.frames * grid.tokens, grid.heads * grid.width),
            version=DOMAIN_VERSION,
        )

    def attributes(self) -> dict[str, Attribute]:
        """The node's attributes: what the plugin declares, where it is found, and what the function refers to."""
        grid = self.grid
        return {
            "frames": grid.frames,
            "tokens": grid.tokens,
            "heads": grid.heads,
            "width": grid.width,
            "along": grid.along,
            "axes": self.positions.shape[1] if self.rotated else 0,
            "pairs": "neighbours",
            "plugin_namespace": DOMAIN,
            "split_order": grid.split_order,
            "merge_order": grid.merge_order,
        }

    def decomposed(self, qkv_BSX: Tensor, *constants: Tensor) -> Tensor:
        """The same from standard operators; ``constants``: the node's other inputs, in order."""
        *weights, positions, frequencies = constants
        grid = self.grid
        q_BSI, k_BSI, v_BSI = torch.split(qkv_BSX, grid.heads * grid.width, dim=-1)
        q, k = self.split(q_BSI), self.split(k_BSI)
        if self.rotated:
            cos, sin = self.turns(positions, frequencies)
            q, k = turned(q, cos, sin), turned(k, cos, sin)
        return self.attend(q, k, v_BSI, *weights).reshape(-1, grid.frames * grid.tokens, grid.heads * grid.width)

    def attend(self, q: Tensor, k: Tensor, v_BSI: Tensor, *weights: Tensor) -> Tensor:
        """Queries and keys (B, groups, H, N, K), values where they lie -> tokens in place (B, F, T, H, K)."""
        raise NotImplementedError


def turned(x: Tensor, cos_NI: Tensor, sin_NI: Tensor) -> Tensor:
    """Every pair of neighbours (a, b) of x (..., N, K) -> (a cos - b sin, b cos + a sin)."""
    pairs = x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2)
    a, b = pairs[..., 0], pairs[..., 1]
    return torch.stack((a * cos_NI - b * sin_NI, b * cos_NI + a * sin_NI), dim=-1).reshape(x.shape)


class AdditivePlugin(PluginCore):
    """Additive attention: u_n = G * v_n (``forms.additive`` has the equations)."""

    op = ADDITIVE

    def __init__(self, attention: FastAttention, grid: Grid, tables: RotaryTables | None) -> None:
        super().__init__(grid, tables, attention.w_q)
        # The kernel multiplies scores by 1 / sqrt K; of another scale the rest is in the weights.
        self.scale = grid.width**-0.5
        rest = attention.scale / self.scale
        self.w_q = nn.Parameter(attention.w_q.detach() * rest, requires_grad=False)
        self.w_k = nn.Parameter(attention.w_k.detach() * rest, requires_grad=False)
        self.pool_q = AdditivePool(None, as_attention=True)
        self.pool_k = AdditivePool(None, as_attention=True)

    def attend(self, q: Tensor, k: Tensor, v_BSI: Tensor, *weights: Tensor) -> Tensor:
        weight_q, weight_k = (weight[:, None] * self.scale for weight in weights)
        query = self.pool_q(q, weight_q)
        key: Tensor = self.merge(query * self.pool_k(k, weight_k * query))
        return key * self.grid.in_place(v_BSI)


class FavorPlugin(PluginCore):
    """FAVOR+: phi(q) (phi(k)^T v) / (phi(q) sum_n phi(k_n)), the function in the order that suits frames.

    Of few tokens weights are made, (phi(q) phi(k)^T) v. Otherwise, with s_m the sum of feature m over the keys, the
    weights phi(q)_m s_m / sum_m phi(q)_m s_m are of order one, and so are the values' means (phi(k)^T v)_m / s_m. So no
    sum over keys and features is ever held in half precision.
    """

    op = FAVOR

    def __init__(self, attention: PerformerAttention, grid: Grid, tables: RotaryTables | None) -> None:
        super().__init__(grid, tables, attention.omega)
        self.omega = nn.Parameter(attention.omega.detach().clone(), requires_grad=False)
        self.eps, self.kernel = attention.eps, attention.kernel
        if self.kernel == "softmax":
            self.exp_q, self.exp_k = FeatureExponential(self.eps, grid.width), FeatureExponential(self.eps, grid.width)
        # Both kinds of attention share a function: the order is that for the tokens of a frame, where most work is, and
        # is taken up to twice the number at which the products are equal, for what it spares along time.
        features, width = attention.features, grid.width
        self.of_tokens = max(grid.tokens, grid.frames) * (features + width) <= 4 * features * width
        if self.of_tokens:
            self.weights: nn.Module = Shares()
        else:
            self.sums, self.means, self.weights = FeatureSums(), Quotient(), FeatureWeights()

    def attributes(self) -> dict[str, Attribute]:
        own: dict[str, Attribute] = {"features": self.omega.shape[0], "eps": self.eps, "feature": self.kernel}
        return {**super().attributes(), **own}

    def attend(self, q: Tensor, k: Tensor, v_BSI: Tensor, *weights: Tensor) -> Tensor:
        (omega_MK,) = weights
        v = self.split(v_BSI)
        # The scale of x' = x / K^(1/4) belongs to the projection.
        omega_KM = (omega_MK * omega_MK.shape[-1] ** -0.25).transpose(0, 1)
        phi_q, phi_k = self._features(q, omega_KM, (-1,)), self._features(k, omega_KM, (-1, -2))
        if self.of_tokens:
            weights_of_tokens = self.weights(torch.matmul(phi_q, phi_k.transpose(-1, -2)))
            mixed: Tensor = self.merge(torch.matmul(weights_of_tokens, v))
            return mixed
        sums = self.sums(phi_k)
        means = self.means(torch.matmul(phi_k.transpose(-1, -2), v), sums.transpose(-1, -2))
        out: Tensor = self.merge(torch.matmul(self.weights(phi_q, sums), means))
        return out

    def _features(self, x: Tensor, omega_KM: Tensor, over: tuple[int, ...]) -> Tensor:
        """(..., N, K) -> (..., N, M); the stabiliser is the maximum ``over`` these dimensions."""
        projected = torch.matmul(x, omega_KM)
        if self.kernel == "relu":
            return torch.relu(projected) + self.eps
        exponential = self.exp_q if len(over) == 1 else self.exp_k
        features: Tensor = exponential(x, projected - projected.amax(dim=over, keepdim=True))
        return features


class RotaryPlugin(PluginCore):
    """Softmax attention of turned queries and keys."""

    op = ROTARY

    def __init__(self, attention: RegularAttention, grid: Grid, tables: RotaryTables | None) -> None:
        super().__init__(grid, tables, attention.to_qkv.weight)
        self.softmax = RegularCore(grid.width**-0.5, None)

    def attend(self, q: Tensor, k: Tensor, v_BSI: Tensor, *weights: Tensor) -> Tensor:  # noqa: ARG002 - it has none
        mixed: Tensor = self.merge(self.softmax(q, k, self.split(v_BSI)))
        return mixed
