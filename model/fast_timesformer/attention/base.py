"""What the mechanisms share: the projections, the head split, the rotation.

Letters: B samples, N tokens, D width, H heads, K head width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.initial import linear
from fast_timesformer.rotary import RotaryTables, refuse_tables, rotate
from fast_timesformer.rules import POSITIVE


class Attention(nn.Module):
    """Base of the mechanisms: subclasses mix the tokens in ``mix``.

    Args:
        dim: D.
        dim_head: K.
        qkv_bias: whether the query, key and value map has a bias.
        qk_scale: what multiplies scores before a softmax; None means ``1 / sqrt K``.
        attn_drop: probability of dropping an attention weight while training.
        proj_drop: probability of dropping an element of the output projection while training.
        heads: H; None means ``dim // dim_head``.

    Raises ValueError naming the wrong argument, also where heads is not given and dim_head does not divide dim.
    """

    def __init__(
        self,
        dim: int,
        dim_head: int = 64,
        qkv_bias: bool = False,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        *,
        heads: int | None = None,
    ) -> None:
        super().__init__()
        if dim < 1 or dim_head < 1 or (heads is not None and heads < 1):
            raise ValueError(f"expected dim, heads and dim_head of at least 1, got {dim}, {heads} and {dim_head}")
        if heads is None and dim % dim_head:
            raise ValueError(f"dim: expected a multiple of dim_head {dim_head} where heads is not given, got {dim}")
        if not (qk_scale is None or POSITIVE.holds(qk_scale)):
            raise ValueError(f"qk_scale: expected {POSITIVE.expected}, or None for 1 / sqrt K, got {qk_scale!r}")
        self.dim = dim
        self.heads = dim // dim_head if heads is None else heads
        self.dim_head = dim_head
        self.scale = dim_head**-0.5 if qk_scale is None else qk_scale
        inner = self.heads * dim_head
        self.to_qkv = linear(dim, 3 * inner, bias=qkv_bias)
        self.to_out = linear(inner, dim)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj_drop = nn.Dropout(proj_drop)

    @classmethod
    def from_config(cls, config: TimeSformerConfig) -> Attention:
        """The attention that a configuration asks for, with fresh weights."""
        return cls(
            config.dim,
            config.dim_head,
            heads=config.num_heads,
            qkv_bias=config.qkv_bias,
            qk_scale=config.qk_scale,
            attn_drop=config.attn_dropout,
            proj_drop=config.proj_dropout,
            **cls.own_options(config),
        )

    @classmethod
    def own_options(cls, config: TimeSformerConfig) -> dict[str, Any]:
        """The arguments that not every mechanism has."""
        del config
        return {}

    def forward(
        self, x: Tensor, rot_emb: None = None, *, rotary: RotaryTables | None = None, num_prefix: int = 0
    ) -> Tensor:
        """Attend among the N tokens of each sample.

        Args:
            x: tokens, (B, N, D).
            rot_emb: None alone: ``rotary`` takes its place. ValueError otherwise.
            rotary: (cos, sin), each (N - num_prefix, K); turn the queries and keys of the last tokens. None: no turn.
            num_prefix: tokens at the front that are never turned (the class token).

        Returns:
            (B, N, D).
        """
        refuse_tables(rot_emb=rot_emb)
        if x.ndim != 3 or x.shape[-1] != self.dim:
            raise ValueError(f"x: expected (B, N, {self.dim}), got {tuple(x.shape)}")
        q, k, v = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        turned_q, turned_k = (q, k) if rotary is None else (rotate(t, rotary, num_prefix) for t in (q, k))
        mixed = self.mix(turned_q, turned_k, v)
        out: Tensor = self.proj_drop(self.to_out(mixed.transpose(1, 2).flatten(2)))
        return self.finish(out, q)

    def mix(self, q_BHNK: Tensor, k_BHNK: Tensor, v_BHNK: Tensor) -> Tensor:
        """Queries and keys after rotation, and values, to (B, H, N, K)."""
        raise NotImplementedError

    def finish(self, out_BND: Tensor, q_BHNK: Tensor) -> Tensor:
        """What follows the output projection; ``q_BHNK`` are the queries before rotation."""
        del q_BHNK
        return out_BND

    def extra_repr(self) -> str:
        return f"heads={self.heads}, dim_head={self.dim_head}"
