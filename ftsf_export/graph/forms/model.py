"""The whole model in export form: clip (B, F, C, H, W) in; logits (B, classes), the class token (B, D), or both out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from fast_timesformer.blocks import (
    DividedBlock,
    FrameBranch,
    JointBranch,
    MlpBranch,
    SpatialBranch,
    TemporalBranch,
)
from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import Normalisation, TapSpec
from ftsf_export.graph.forms.angles import joint_angles, space_angles, time_angles
from ftsf_export.graph.forms.attention import AttentionParts, attention_form, entered
from ftsf_export.graph.forms.blocks import BlockForm, DividedBlockForm, DividedTailBlockForm, TailBlockForm
from ftsf_export.graph.forms.branches import MlpForm, TemporalForm, TokensForm
from ftsf_export.graph.forms.choices import Choices, Site, attention_site, choices_for
from ftsf_export.graph.forms.frames import ClassMask, Frames
from ftsf_export.graph.forms.linear_map import LinearMap, Norm
from ftsf_export.graph.forms.rotation import RotaryTables
from ftsf_export.graph.rewrite import Rewrites, pixel_normalisation
from ftsf_export.mechanisms import mechanism_named
from ftsf_export.network.scope import (
    BLOCKS,
    BRANCHES,
    FEATURES,
    LOGITS,
    MLP,
    NORM,
    PATCH_EMBED,
    TEMPORAL,
    Along,
    Branch,
)


class PatchEmbedForm(LinearMap):
    """Clip (B, F, C, H, W) -> patches (B, F * P, D). The patch vector is taken in the clip's own order: channel, row,
    column, with the weight's rows permuted to match, so that rows of pixels stay contiguous."""

    def __init__(self, model: FastTimeSformer, normalisation: Normalisation | None) -> None:
        """``normalisation``: to take over; None: the clip is normalised."""
        config = model.config
        self_weight = LinearMap.from_linear(model.patch_embed)
        side, channels = config.patch_size, config.channels
        weight = self_weight.weight.reshape(side, side, channels, -1).permute(2, 0, 1, 3).flatten(0, 2)
        embed = LinearMap(weight, self_weight.bias)
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
        plugins: which attentions are one node, those along "time", "space" or both.
        normalisation: the clip holds pixels, which are normalised so; None: it is normalised.
        outputs: which of ``OUTPUTS`` it gives, in that order; None: logits, or features of a model without a head.
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
        outputs: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        config = model.config
        self.outputs = tuple(outputs or (LOGITS if config.num_classes else FEATURES,))
        self.frames_apart = config.attn_type == "space"
        self.class_tokens = config.frames if self.frames_apart else 1
        tables = _tables(model)
        regrouped, frame_major = ClassMask(1 + config.num_patches), ClassMask(1 + config.num_patches)
        blocks = _Blocks(
            model=model,
            rewrites=rewrites,
            tables=tables,
            is_class={True: regrouped.is_class, False: frame_major.is_class},
            operator=operator,
            one_clip=one_clip,
            plugins=plugins,
        )
        made = [blocks.block(index) for index in range(config.depth)]
        # What all blocks share comes first: a shared constant is known by its first name.
        self.rotary_space = tables["space"].shared() if tables else None
        self.rotary_time = tables["time"].shared() if tables else None
        self.frame_major, self.frames = frame_major, regrouped
        folded = choices_for(Site(part="embedding", pixels=normalisation is not None), rewrites).pixels_in_embedding
        pixels = None if folded else normalisation
        self.pixels = None if pixels is None else PixelsForm(pixels, model.cls_token.detach())
        self.patch_embed = PatchEmbedForm(model, normalisation if folded else None)
        self.tokens = TokensTable(model, self.class_tokens)
        self.blocks = nn.ModuleList(made)
        self.norm = Norm(model.norm)
        self.head = LinearMap.from_linear(cast("nn.Linear", model.head)) if LOGITS in self.outputs else None
        self.eval()

    def forward(self, clip: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self.pixels is not None:
            clip = self.pixels(clip)
        x = self.tokens(self.patch_embed(clip))
        for block in self.blocks:
            x = block(x)
        # A class token for each frame, or one; a tail has left nothing else.
        rows = x.reshape(-1, self.class_tokens, x.shape[1] // self.class_tokens, x.shape[-1])[:, :, 0]
        row = rows.mean(dim=1) if self.frames_apart else rows[:, 0]
        features: Tensor = self.norm(row)
        made = {FEATURES: features} if self.head is None else {LOGITS: self.head(features), FEATURES: features}
        given = tuple(made[name] for name in self.outputs)
        return given[0] if len(given) == 1 else given

    @property
    def tail(self) -> bool:
        """Whether the last block computes the class token alone."""
        return isinstance(self.blocks[-1], TailBlockForm | DividedTailBlockForm)

    def taps(self) -> tuple[TapSpec, ...]:
        """The graph's taps in network order, and which tokens each holds. What is an output is no tap as well."""
        taps = [TapSpec(PATCH_EMBED, "all")]
        last = len(self.blocks) - 1
        for index, block in enumerate(cast("list[BlockForm]", list(self.blocks))):
            if isinstance(block, DividedBlockForm):
                taps.append(TapSpec(BLOCKS / index / TEMPORAL.name, "all"))
            tokens: Literal["all", "class"] = "class" if self.tail and index == last else "all"
            taps += [TapSpec(BLOCKS / index / name, tokens) for name in (block.tokens_name, MLP)]
        return tuple(taps) if FEATURES in self.outputs else (*taps, TapSpec(NORM, "all"))


@dataclass(frozen=True, kw_only=True)
class _Blocks:
    """Makes the blocks of a model."""

    model: FastTimeSformer
    rewrites: Rewrites
    #: Rotary tables along space (over the clip in joint attention) and along time; none without rotation.
    tables: dict[Along, RotaryTables]
    is_class: dict[bool, Tensor]  #: The class token's mask, by whether the frames are regrouped.
    operator: bool
    one_clip: bool
    plugins: frozenset[str]

    def block(self, index: int) -> BlockForm:
        model, config = self.model, self.model.config
        block = model.blocks[index]
        branch = BRANCHES[config.attn_type][-1]
        module = cast("SpatialBranch | JointBranch | FrameBranch", block.get_submodule(branch.name))
        last = index == config.depth - 1
        site = self._site(branch, last=last)
        choices = choices_for(site, self.rewrites)
        frames = Frames(config.frames, 1 + config.num_patches, frame_major=not choices.regrouped)
        is_class = self.is_class[choices.regrouped]
        norm, attn = self._attention(module, site, choices, frames=frames, is_class=is_class)
        parted = frames if site.framed and not choices.class_only and not choices.mean_first else None
        tokens = TokensForm(norm, attn, parted, alike=choices.keys_mean)
        mlp_site = Site(part="mlp", gated=config.mlp_act == "geglu", last=last)
        mlp = MlpForm(cast(MlpBranch, block.get_submodule(MLP)), choices_for(mlp_site, self.rewrites))
        if isinstance(block, DividedBlock):
            kind = DividedTailBlockForm if choices.class_only else DividedBlockForm
            return kind(self._temporal(block, last=last), tokens, mlp, frames, is_class)
        if choices.class_only:
            return TailBlockForm(branch.name, tokens, mlp, config.frames if config.attn_type == "space" else 1)
        return BlockForm(branch.name, tokens, mlp)

    def _temporal(self, block: DividedBlock, *, last: bool) -> TemporalForm:
        branch = block.temporal
        site = self._site(TEMPORAL, last=last)
        choices = choices_for(site, self.rewrites)
        fc = LinearMap.from_linear(branch.fc)
        norm, attn = self._attention(branch, site, choices, fc=fc if choices.fc_in_projection else None)
        return TemporalForm(norm, attn, None if choices.fc_in_projection else fc)

    def _site(self, branch: Branch, *, last: bool) -> Site:
        return attention_site(self.model.config, branch, last=last, one_clip=self.one_clip, plugins=self.plugins)

    def _attention(
        self,
        branch: TemporalBranch | SpatialBranch | JointBranch | FrameBranch,
        site: Site,
        choices: Choices,
        *,
        fc: LinearMap | None = None,
        frames: Frames | None = None,
        is_class: Tensor | None = None,
    ) -> tuple[Norm, nn.Module]:
        norm, qkv = entered(branch.norm, branch.attn, site, choices)
        parts = AttentionParts(
            attention=branch.attn,
            qkv=qkv,
            choices=choices,
            tables=self.tables.get("time" if site.temporal else "space"),
            fc=fc,
            frames=frames,
            is_class=is_class,
            operator=self.operator,
            frames_apart=self.model.config.attn_type == "space",
        )
        return norm, attention_form(mechanism_named(self.model.config.attn_mechanism), site, parts)


def _tables(model: FastTimeSformer) -> dict[Along, RotaryTables]:
    """Tables over a frame's tokens (over the clip's in joint attention), and over the frames."""
    if model.rotary is None:
        return {}
    rotary = model.rotary
    if model.config.attn_type == "joint":
        space = RotaryTables(*rotary.joint_NK(), prefix=1, angles=joint_angles(rotary))
    else:
        space = RotaryTables(*rotary.space_PK(), prefix=1, angles=space_angles(rotary))
    return {"space": space, "time": RotaryTables(*rotary.time_FK(), prefix=0, angles=time_angles(rotary))}
