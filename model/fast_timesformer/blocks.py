"""The transformer blocks and their branches (Bertasius et al. 2021, TimeSformer, section 3).

Letters: B clips, F frames, P patches a frame, N tokens (1 + F * P, class token first, then frame by frame), D width,
R hidden width. A branch takes the residual stream and returns what is to be added to it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fast_timesformer.config import TimeSformerConfig, heads_taken
from fast_timesformer.drop_path import DropPath
from fast_timesformer.initial import linear
from fast_timesformer.rotary import Rotary, refuse_tables


class AttentionBranch(nn.Module):
    """A norm, an attention and the positions of its tokens: what the branches that attend share."""

    def __init__(self, config: TimeSformerConfig, rotary: Rotary | None) -> None:
        super().__init__()
        self.frames = config.frames
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.attn = config.mechanism.attention.from_config(config)
        self.rotary = rotary


class TemporalBranch(AttentionBranch):
    """Attention among the F tokens of each patch position, then a linear map: (B, N, D) -> (B, F * P, D).

    The class token takes no part.
    """

    def __init__(self, config: TimeSformerConfig, rotary: Rotary | None) -> None:
        super().__init__(config, rotary)
        self.fc = linear(config.dim, config.dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        batch = x_BND.shape[0]
        tokens = self.norm(x_BND[:, 1:]).unflatten(1, (self.frames, -1)).transpose(1, 2).flatten(0, 1)
        tokens = self.attn(tokens, rotary=None if self.rotary is None else self.rotary.time_FK())
        out: Tensor = self.fc(tokens.unflatten(0, (batch, -1)).transpose(1, 2).flatten(1, 2))
        return out


class SpatialBranch(AttentionBranch):
    """Attention among the P tokens of each frame and a copy of the class token: (B, N, D) -> (B, N, D).

    The class token's contribution is the mean over frames of what its copies got.
    """

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BND = self.norm(x_BND)
        copies = x_BND[:, :1].repeat_interleave(self.frames, dim=0)
        patches = torch.unflatten(x_BND[:, 1:], 1, (self.frames, -1)).flatten(0, 1)
        tables = None if self.rotary is None else self.rotary.space_PK()
        attended = self.attn(torch.cat((copies, patches), dim=1), rotary=tables, num_prefix=1)
        frames = attended.unflatten(0, (-1, self.frames))
        return torch.cat((frames[:, :, 0].mean(dim=1, keepdim=True), frames[:, :, 1:].flatten(1, 2)), dim=1)


class FrameBranch(AttentionBranch):
    """Attention within each frame, which keeps a class token of its own: (B * F, 1 + P, D) -> the same."""

    def forward(self, x_BND: Tensor) -> Tensor:
        tables = None if self.rotary is None else self.rotary.space_PK()
        out: Tensor = self.attn(self.norm(x_BND), rotary=tables, num_prefix=1)
        return out


class JointBranch(AttentionBranch):
    """Attention among all tokens of a clip: (B, N, D) -> (B, N, D)."""

    def forward(self, x_BND: Tensor) -> Tensor:
        tables = None if self.rotary is None else self.rotary.joint_NK()
        out: Tensor = self.attn(self.norm(x_BND), rotary=tables, num_prefix=1)
        return out


class MlpBranch(nn.Module):
    """Two linear maps a token, (B, N, D) -> (B, N, D), R the hidden width.

    ``geglu`` (Shazeer 2020, GLU Variants): (a, g) = fc1(x), each R wide; fc2(a * gelu(g)). ``gelu``: fc2(gelu(fc1(x))).
    The GELU is the exact one (erf).
    """

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        hidden = config.hidden_dim
        self.gated = config.mlp_act == "geglu"
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.fc1 = linear(config.dim, 2 * hidden if self.gated else hidden)
        self.fc2 = linear(hidden, config.dim)
        self.dropout = nn.Dropout(config.proj_dropout)

    def forward(self, x_BND: Tensor) -> Tensor:
        hidden: Tensor = self.fc1(self.norm(x_BND))
        if self.gated:
            value, gate = hidden.chunk(2, dim=-1)
            hidden = value * functional.gelu(gate)
        else:
            hidden = functional.gelu(hidden)
        out: Tensor = self.dropout(self.fc2(hidden))
        return out


class DividedBlock(nn.Module):
    """Temporal attention, spatial attention, MLP, each with its residual: (B, N, D) -> (B, N, D)."""

    def __init__(self, config: TimeSformerConfig, rotary: Rotary | None, drop_path: float) -> None:
        super().__init__()
        self.temporal = TemporalBranch(config, rotary)
        self.spatial = SpatialBranch(config, rotary)
        self.mlp = MlpBranch(config)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BND = torch.cat((x_BND[:, :1], x_BND[:, 1:] + self.drop_path(self.temporal(x_BND))), dim=1)
        x_BND = x_BND + self.drop_path(self.spatial(x_BND))
        return torch.add(x_BND, self.drop_path(self.mlp(x_BND)))


class JointBlock(nn.Module):
    """Attention among all tokens, MLP, each with its residual: (B, N, D) -> (B, N, D)."""

    def __init__(self, config: TimeSformerConfig, rotary: Rotary | None, drop_path: float) -> None:
        super().__init__()
        self.joint = JointBranch(config, rotary)
        self.mlp = MlpBranch(config)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BND = x_BND + self.drop_path(self.joint(x_BND))
        return torch.add(x_BND, self.drop_path(self.mlp(x_BND)))


class SpaceBlock(nn.Module):
    """Attention within frames, MLP, each with its residual: (B * F, 1 + P, D) -> the same."""

    def __init__(self, config: TimeSformerConfig, rotary: Rotary | None, drop_path: float) -> None:
        super().__init__()
        self.spatial = FrameBranch(config, rotary)
        self.mlp = MlpBranch(config)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BND = x_BND + self.drop_path(self.spatial(x_BND))
        return torch.add(x_BND, self.drop_path(self.mlp(x_BND)))


BLOCKS = {"divided": DividedBlock, "joint": JointBlock, "space": SpaceBlock}


class TimeSformerBlock(nn.Module):
    """One block alone, with the arguments of the class of this name in FastTimeSformer 0.2.2: (B, N, D) -> (B, N, D).

    ``height_patches`` and ``width_patches`` are the grid of a frame, ``mlp_ratio`` the hidden width over ``dim``; all
    others are fields of ``TimeSformerConfig``, ``attn_dropout`` and ``proj_dropout`` under shorter names. Patches lie
    frame by frame behind the class token. With ``rotary_emb`` queries and keys are turned by tables of the block's own.
    Raises ArchitectureError for wrong values.
    """

    def __init__(
        self,
        dim: int,
        frames: int,
        height_patches: int,
        width_patches: int,
        dim_head: int = 64,
        heads: int | None = None,
        drop_path: float = 0.1,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        qkv_bias: bool = False,
        mlp_ratio: float = 4,
        qk_scale: float | None = None,
        rotary_emb: bool = True,
        attn_mechanism: str = "fastformer",
        attn_type: str = "divided",
    ) -> None:
        super().__init__()
        heads = heads_taken(heads, dim, dim_head, attn_mechanism, stacklevel=3)
        config = TimeSformerConfig(
            frames, 1, height_patches, width_patches, 0, dim, 1, 1, heads, dim_head, drop_path,
            attn_drop, proj_drop, rotary_emb, attn_mechanism, attn_type,
            qkv_bias=qkv_bias, mlp_dim=int(mlp_ratio * dim), qk_scale=qk_scale,
        )  # fmt: skip
        self.block = BLOCKS[config.attn_type](config, Rotary.from_config(config), config.drop_path)

    def forward(self, x: Tensor, frame_rot_emb: None = None, image_rot_emb: None = None) -> Tensor:
        """``frame_rot_emb`` and ``image_rot_emb``: None alone; ValueError otherwise."""
        refuse_tables(frame_rot_emb=frame_rot_emb, image_rot_emb=image_rot_emb)
        out: Tensor = self.block(x)
        return out
