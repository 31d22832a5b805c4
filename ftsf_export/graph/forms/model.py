"""The whole model in export form: clip (B, F, C, H, W) in, logits (B, classes) out."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from fast_timesformer.blocks import (
    DividedBlock,
    FrameBranch,
    JointBlock,
    JointBranch,
    MlpBranch,
    SpatialBranch,
)
from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import Normalisation, TapSpec
from ftsf_export.graph.forms.attention import attention_form
from ftsf_export.graph.forms.blocks import BlockForm, DividedBlockForm, DividedTailBlockForm, TailBlockForm
from ftsf_export.graph.forms.branches import ClassAttentionForm, MlpForm, TemporalForm, TokensForm
from ftsf_export.graph.forms.frames import Frames
from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.forms.product import Norm, Product
from ftsf_export.graph.forms.rotation import RotaryTables
from ftsf_export.graph.forms.turns import joint_turns, space_turns, time_turns
from ftsf_export.graph.rewrite import Rewrites, class_tail, pixel_normalisation, regrouping
from ftsf_export.network.scope import BLOCKS, MLP, NORM, PATCH_EMBED, TEMPORAL


class PatchEmbedForm(Product):
    """Clip (B, F, C, H, W) -> patches (B, F * P, D). The patch vector is taken in the clip's own order: channel, row,
    column, with the weight's rows permuted to match, so that rows of pixels stay contiguous."""

    def __init__(self, model: FastTimeSformer, normalisation: Normalisation | None) -> None:
        """``normalisation``: to take over; None: the clip is normalised."""
        config = model.config
        self_weight = Product.from_linear(model.patch_embed)
        side, channels = config.patch_size, config.channels
        weight = self_weight.weight.reshape(side, side, channels, -1).permute(2, 0, 1, 3).flatten(0, 2)
        embed = Product(weight, self_weight.bias)
        if normalisation is not None:
            embed = pixel_normalisation.folded(embed, normalisation)
        super().__init__(embed.weight, embed.bias)
        self.grid = (config.frames, channels, config.rows, side, config.columns, side)

    def forward(self, clip: Tensor) -> Tensor:
        frames, channels, rows, side, columns, _ = self.grid
        patches = clip.reshape(-1, *self.grid).permute(0, 1, 3, 5, 2, 4, 6)
        return super().forward(patches.reshape(-1, frames * rows * columns, channels * side * side))


class PixelsForm(nn.Module):
    """(pixel - mean) / std: clip (B, F, C, H, W) -> the same."""

    def __init__(self, normalisation: Normalisation, like: Tensor) -> None:
        """``like``: a weight, for its element type."""
        super().__init__()
        mean, std = (like.new_tensor(values).reshape(-1, 1, 1) for values in (normalisation.mean, normalisation.std))
        self.mean = nn.Parameter(mean, requires_grad=False)
        self.std = nn.Parameter(std, requires_grad=False)

    def forward(self, clip: Tensor) -> Tensor:
        return (clip - self.mean) / self.std


class TokensTable(nn.Module):
    """Patches (B, F * P, D) -> stream (B, S, D): a class token before each of ``frames`` runs of patches (one run in
    divided and joint attention), learned positions added.

    A row of zeros is put before each run, and one table (S, D) is added to all: no tensor has to be made as
    large as the batch, so nothing in the graph asks for the batch's size.
    """

    def __init__(self, model: FastTimeSformer, frames: int) -> None:
        super().__init__()
        config = model.config
        self.frames = frames
        self.patches = config.num_patches * config.frames // frames
        table = torch.zeros(frames, 1 + self.patches, config.dim, dtype=model.cls_token.dtype)
        table[:, 0] = model.cls_token.detach()
        positions = model.learned_positions()
        if positions is not None:
            # One row a token of the model's own stream: with one frame in it (joint, space), or with all of them.
            positions = positions.detach()
            table[:, 0] += positions[0]
            table[:, 1:] += positions[1:].reshape(-1, self.patches, config.dim)
        self.table = nn.Parameter(table.reshape(1, -1, config.dim), requires_grad=False)

    def forward(self, patches: Tensor) -> Tensor:
        width = patches.shape[-1]
        framed = patches.reshape(-1, self.frames, self.patches, width)
        padded = torch.nn.functional.pad(framed, (0, 0, 1, 0))
        return padded.reshape(-1, self.frames * (1 + self.patches), width) + self.table


class ExportForm(nn.Module):
    """The model as it is traced. Module paths are the model's own, so that nodes and weights keep their names.

    Args:
        model: whose weights are taken over (copied where a rewrite changes them).
        rewrites: names of the exact rewrites to apply.
        operator: softmax attention as the ONNX ``Attention`` operator.
        one_clip: every call is one clip; forms that are better for several otherwise.
        plugins: which linear attentions are one node, those along "time", "space" or both.
        normalisation: the clip holds pixels, which are normalised so; None: it is normalised.
    """

    def __init__(
        self,
        model: FastTimeSformer,
        rewrites: Rewrites,
        *,
        operator: bool = False,
        one_clip: bool = True,
        plugins: frozenset[str] = frozenset(),
        normalisation: Normalisation | None = None,
    ) -> None:
        super().__init__()
        self.plugins, self.one_clip = plugins, one_clip
        config = model.config
        self.frames_apart = config.attn_type == "space"
        frames = 1 if config.attn_type == "joint" else config.frames
        tokens = 1 + config.num_patches * config.frames // frames
        self.grid = Grid(frames, tokens, config.num_heads, config.dim_head, "space")
        # What all blocks share comes first: a shared constant is known by its first name.
        self.rotary_space, self.rotary_time = _tables(model)
        self.frame_major = Frames(self.grid, frame_major=True)
        self.frames = Frames(self.grid) if regrouping.NAME in rewrites else self.frame_major
        folded = pixel_normalisation.NAME in rewrites
        self.pixels: PixelsForm | None = None
        if normalisation is not None and not folded:
            self.pixels = PixelsForm(normalisation, model.head.weight.detach())
        self.patch_embed = PatchEmbedForm(model, normalisation if folded else None)
        self.class_tokens = config.frames if self.frames_apart else 1
        self.tokens = TokensTable(model, self.class_tokens)
        self.blocks = nn.ModuleList(
            self._block(model, index, rewrites, operator=operator) for index in range(config.depth)
        )
        self.norm = Norm(model.norm)
        self.head = Product.from_linear(model.head)
        self.eval()

    def forward(self, clip: Tensor) -> Tensor:
        if self.pixels is not None:
            clip = self.pixels(clip)
        x = self.tokens(self.patch_embed(clip))
        for block in self.blocks:
            x = block(x)
        # A class token for each frame, or one; a tail has left nothing else.
        rows = x.reshape(-1, self.class_tokens, x.shape[1] // self.class_tokens, x.shape[-1])[:, :, 0]
        row = rows.mean(dim=1) if self.frames_apart else rows[:, 0]
        logits: Tensor = self.head(self.norm(row))
        return logits

    @property
    def tail(self) -> bool:
        """Whether the last block computes the class token alone."""
        return isinstance(self.blocks[-1], TailBlockForm | DividedTailBlockForm)

    def taps(self) -> tuple[TapSpec, ...]:
        """The graph's taps in network order, and which tokens each holds."""
        taps = [TapSpec(PATCH_EMBED, "all")]
        last = len(self.blocks) - 1
        for index, block in enumerate(cast("list[BlockForm]", list(self.blocks))):
            if isinstance(block, DividedBlockForm):
                taps.append(TapSpec(BLOCKS / index / TEMPORAL.name, "all"))
            tokens: Literal["all", "class"] = "class" if self.tail and index == last else "all"
            taps += [TapSpec(BLOCKS / index / name, tokens) for name in (block.tokens_name, MLP)]
        return (*taps, TapSpec(NORM, "all"))

    def _block(self, model: FastTimeSformer, index: int, rewrites: Rewrites, *, operator: bool) -> BlockForm:
        block = model.blocks[index]
        name = "joint" if isinstance(block, JointBlock) else "spatial"
        branch = cast("SpatialBranch | JointBranch | FrameBranch", block.get_submodule(name))
        tail_only = class_tail.NAME in rewrites and index == model.config.depth - 1
        plugin = self.grid.along in self.plugins and not tail_only
        # A plugin's kernel takes a frame's tokens side by side.
        frames = self.frame_major if plugin else self.frames
        grid = frames.grid if isinstance(block, DividedBlock) else self.grid
        norm, attn = attention_form(
            branch.norm,
            branch.attn,
            grid,
            self.rotary_space,
            rewrites,
            operator=operator,
            plugin=plugin,
            class_only=tail_only,
            one_clip=self.one_clip,
        )
        mlp = MlpForm(cast(MlpBranch, block.get_submodule("mlp")), rewrites)
        tokens: nn.Module
        if tail_only:
            tokens = ClassAttentionForm(norm, attn, rewrites, frames_apart=self.frames_apart)
        else:
            tokens = TokensForm(norm, attn, frames if isinstance(block, DividedBlock) else None, rewrites)
        if isinstance(block, DividedBlock):
            temporal = self._temporal(block, rewrites, operator=operator)
            kind = DividedTailBlockForm if tail_only else DividedBlockForm
            return kind(temporal, tokens, mlp, frames)
        return TailBlockForm(name, tokens, mlp, self.class_tokens) if tail_only else BlockForm(name, tokens, mlp)

    def _temporal(self, block: DividedBlock, rewrites: Rewrites, *, operator: bool) -> TemporalForm:
        branch = block.temporal
        along_time = replace(self.grid, along="time", tokens=self.grid.tokens - 1)
        plugin = along_time.along in self.plugins
        norm, attn = attention_form(
            branch.norm,
            branch.attn,
            along_time,
            self.rotary_time,
            rewrites,
            operator=operator,
            plugin=plugin,
            one_clip=self.one_clip,
        )
        return TemporalForm(norm, attn, branch.fc, rewrites)


def _tables(model: FastTimeSformer) -> tuple[RotaryTables | None, RotaryTables | None]:
    """Tables over a frame's tokens (over the clip's in joint attention), and over the frames."""
    if model.rotary is None:
        return None, None
    rotary = model.rotary
    if model.config.attn_type == "joint":
        space = RotaryTables(*rotary.joint_NK(), prefix=1, turns=joint_turns(rotary))
    else:
        space = RotaryTables(*rotary.space_PK(), prefix=1, turns=space_turns(rotary))
    return space, RotaryTables(*rotary.time_FK(), prefix=0, turns=time_turns(rotary))
