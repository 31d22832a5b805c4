"""FastTimeSformer: clip in, logits out.

Letters: B clips, F frames, C channels, P patches a frame, N tokens (1 + F * P), D width, K head width.
"""

from __future__ import annotations

from inspect import Parameter, Signature, signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fast_timesformer.attention import FastAttention, FastformerAttention, PerformerAttention, RegularAttention
from fast_timesformer.blocks import BLOCKS, TimeSformerBlock
from fast_timesformer.config import TimeSformerConfig, heads_taken
from fast_timesformer.initial import linear, parameter
from fast_timesformer.rotary import Rotary

__all__ = [
    "FastAttention",
    "FastTimeSformer",
    "FastformerAttention",
    "PerformerAttention",
    "RegularAttention",
    "TimeSformerBlock",
    "TimeSformerConfig",
]

# Above this much kept for the backward pass, blocks are computed twice rather than kept.
KEPT_BYTES_LIMIT = 4 * 2**30


def _signature() -> Signature:
    """The fields of ``TimeSformerConfig`` with their defaults, then ``checkpoint_blocks``."""
    last = Parameter("checkpoint_blocks", Parameter.KEYWORD_ONLY, default=None, annotation="bool | None")
    return Signature([*signature(TimeSformerConfig).parameters.values(), last])


def _described(*architecture: Any, **fields: Any) -> TimeSformerConfig:
    """A configuration as it is, or that of the arguments."""
    if len(architecture) == 1 and isinstance(architecture[0], TimeSformerConfig) and not fields:
        return architecture[0]
    bound = signature(TimeSformerConfig).bind(*architecture, **fields)
    bound.apply_defaults()
    asked = bound.arguments
    asked["heads"] = heads_taken(asked["heads"], asked["dim"], asked["dim_head"], asked["attn_mechanism"], stacklevel=4)
    return TimeSformerConfig(*bound.args, **bound.kwargs)


class FastTimeSformer(nn.Module):
    """A video classifier: ``FastTimeSformer(frames, channels, height, width, num_classes)(x_BFCHW)``.

    The arguments are those of ``TimeSformerConfig``, which says what each means and raises ValueError for wrong ones;
    ``model.config`` holds them all. A ``TimeSformerConfig`` alone is taken as well. Their order is that of
    FastTimeSformer 0.2.2; heads that do not make up the ``dim`` are accepted with a warning that says how many
    are used.

    ``attn_type`` chooses the block of Bertasius et al. 2021: ``divided`` space-time, ``joint`` space-time, or ``space``
    alone (a class token for each frame through the whole network; before the final norm the frames are averaged).

    Positions: rotary tables on queries and keys (``rotary``), or learned embeddings added to the tokens:
    ``pos_token`` (one a token of the stream), or ``pos_space`` (1 + P, D; row 0 is the class token's) and ``pos_time``
    (F, D; not with ``space``), as in the pretrained TimeSformer.

    ``checkpoint_blocks`` (also an attribute that may be changed): True computes every block anew in the backward pass
    instead of keeping its inner values; False keeps them; None decides by the size of the clip and the batch: above
    about 4 GiB they are computed anew. Logits and gradients are the same either way, dropout included.
    """

    def __init__(self, *architecture: Any, checkpoint_blocks: bool | None = None, **fields: Any) -> None:
        super().__init__()
        self.config = _described(*architecture, **fields)
        self.checkpoint_blocks = checkpoint_blocks
        self._build(self.config)

    # help() and notebooks show the fields and their defaults.
    __signature__ = _signature()

    @classmethod
    def from_config(cls, config: TimeSformerConfig, *, checkpoint_blocks: bool | None = None) -> FastTimeSformer:
        """The model of a configuration, with fresh weights."""
        return cls(config, checkpoint_blocks=checkpoint_blocks)

    def forward(self, video: Tensor, mask: None = None) -> Tensor:
        """Logits (B, num_classes) of clips (B, F, C, H, W), or (B, C, F, H, W) with ``frames_first=False``. Without a
        head (``num_classes=0``) the class token after the last norm, (B, D).

        Raises ValueError on another shape, and for a ``mask``: FastTimeSformer 0.2.2 takes one and does not look at it.
        """
        if mask is not None:
            raise ValueError(
                f"mask: expected None, got {type(mask).__name__}: every frame and patch takes part (FastTimeSformer "
                "0.2.2 takes a mask and ignores it); leave it out, and give clips of frames that all count"
            )
        self._check_clip(video)
        x_BND = self._embed(video if self.config.frames_first else video.transpose(1, 2))
        for block in self.blocks:
            # No positions, no masks: a block is a function of the stream alone.
            x_BND = checkpoint(block, x_BND, use_reentrant=False) if self._recomputes(x_BND) else block(x_BND)
        if self.config.attn_type == "space":
            x_BND = torch.unflatten(x_BND, 0, (-1, self.config.frames)).mean(dim=1)
        logits: Tensor = self.head(self.norm(x_BND[:, 0]))
        return logits

    def _build(self, config: TimeSformerConfig) -> None:
        self.patch_embed = linear(config.patch_size**2 * config.channels, config.dim)
        self.cls_token = parameter(config.dim)
        self.rotary = Rotary.from_config(config)
        if self.rotary is None and config.learned_emb == "factored":
            self.pos_space = parameter(1 + config.num_patches, config.dim)
            if config.attn_type != "space":
                self.pos_time = parameter(config.frames, config.dim)
        elif self.rotary is None:
            stream = 1 + config.num_patches if config.attn_type == "space" else config.num_tokens
            self.pos_token = parameter(stream, config.dim)
        # Stochastic depth grows linearly from block to block, as in the original TimeSformer.
        rates = [config.drop_path * i / max(1, config.depth - 1) for i in range(config.depth)]
        self.blocks = nn.ModuleList(BLOCKS[config.attn_type](config, self.rotary, rate) for rate in rates)
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.head = linear(config.dim, config.num_classes) if config.num_classes else nn.Identity()

    def _embed(self, x_BFCHW: Tensor) -> Tensor:
        """The first residual stream: patches, class token, learned positions."""
        side = self.config.patch_size
        # Rows and columns of patches, and of pixels inside them.
        parted = torch.unflatten(torch.unflatten(x_BFCHW, 4, (-1, side)), 3, (-1, side)).permute(0, 1, 3, 5, 4, 6, 2)
        patches = self.patch_embed(parted.flatten(4).flatten(1, 3))
        if self.config.attn_type == "space":
            patches = patches.unflatten(1, (self.config.frames, -1)).flatten(0, 1)
        x_BND = torch.cat((self.cls_token.expand(patches.shape[0], 1, -1), patches), dim=1)
        positions = self.learned_positions()
        return x_BND if positions is None else x_BND + positions

    def learned_positions(self) -> Tensor | None:
        """One embedding a token of the stream, (N, D); None with rotary positions."""
        if self.rotary is not None:
            return None
        if self.config.learned_emb == "token":
            return self.pos_token
        if self.config.attn_type == "space":
            return self.pos_space
        grid = self.pos_time[:, None] + self.pos_space[1:]
        return torch.cat((self.pos_space[:1], grid.flatten(0, 1)))

    def _recomputes(self, x_BND: Tensor) -> bool:
        """Whether blocks are computed anew in the backward pass."""
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return False
        if self.checkpoint_blocks is not None:
            return self.checkpoint_blocks
        return self._kept_bytes(x_BND) > KEPT_BYTES_LIMIT

    def _kept_bytes(self, x_BND: Tensor) -> int:
        """About what all blocks keep for the backward pass."""
        config = self.config
        inner = config.num_heads * config.dim_head
        hidden = config.hidden_dim
        # An attention keeps its input, the norm's and the projection's results, q, k and v twice (split and turned);
        # a gated MLP keeps both halves, the activation and the product.
        attention = 4 * config.dim + 6 * inner
        if config.mechanism.has_features:
            attention += 4 * config.num_heads * config.num_features
        mlp = 2 * config.dim + (4 if config.mlp_act == "geglu" else 2) * hidden
        branches = 2 if config.attn_type == "divided" else 1
        return config.depth * (x_BND.numel() // config.dim) * (branches * attention + mlp) * x_BND.element_size()

    def _check_clip(self, clip: Tensor) -> None:
        config = self.config
        order, leading = ("B, F, C, H, W", (config.frames, config.channels))
        if not config.frames_first:
            order, leading = ("B, C, F, H, W", (config.channels, config.frames))
        expected = (*leading, config.height, config.width)
        if clip.ndim != 5 or tuple(clip.shape[1:]) != expected:
            raise ValueError(
                f"clip: expected ({order}) = (B, {', '.join(map(str, expected))}), got {tuple(clip.shape)}; "
                f"frames_first is {config.frames_first}"
            )
