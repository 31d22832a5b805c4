"""The whole model in export form: clips in; logits (B, classes), the class token (B, D), or both out."""

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
from ftsf_export.bundle import GraphInput, TapSpec
from ftsf_export.bundle.graph_input import USUAL_INPUT
from ftsf_export.bundle.specs import UINT8
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

# Taken from grey levels before their product, which is exact in either half type. Without it what half precision does
# to the weights adds up over pixels, which all are positive, alike in every patch (docs/measurements.md).
MID_GREY = 128


class PatchEmbedForm(LinearMap):
    """Clip, its dimensions in any order -> patches (B, F * P, D). The patch vector is taken in the clip's own order of
    channel, row and column, with the weight's rows permuted to match, so that rows of pixels stay contiguous."""

    def __init__(self, model: FastTimeSformer, takes: GraphInput, *, normalises: bool) -> None:
        """``normalises``: the weights take over the normalisation of ``takes``; otherwise the clip is normalised."""
        config = model.config
        embed = LinearMap.from_linear(model.patch_embed)
        if normalises and takes.normalisation is not None:
            how = takes.normalisation
            embed = pixel_normalisation.folded(embed, how.after(MID_GREY) if takes.dtype == UINT8 else how)
        # The dimensions of a clip with every side in two: row r of patches and i in the patch, column c and j; k is the
        # channel.
        split = "".join({"F": "f", "C": "k", "H": "ri", "W": "cj"}[letter] for letter in takes.layout[1:])
        vector = "".join(letter for letter in split if letter in "ijk")
        side, channels, frames = config.patch_size, config.channels, config.frames
        sizes = {"f": frames, "r": config.rows, "c": config.columns, "i": side, "j": side, "k": channels}
        weight = embed.weight.reshape(side, side, channels, -1).permute(*("ijk".index(one) for one in vector), 3)
        super().__init__(weight.flatten(0, 2), embed.bias)
        self.grid = tuple(sizes[letter] for letter in split)
        self.order = (0, *(1 + split.index(letter) for letter in f"frc{vector}"))
        self.patches = (frames * config.num_patches, side * side * channels)

    def forward(self, clip: Tensor) -> Tensor:
        # TensorRT takes uint8 as an input and in a cast, and in no other layer, also in none that moves it.
        if not clip.is_floating_point():
            clip = clip.to(self.weight.dtype) - MID_GREY
        return super().forward(clip.reshape(-1, *self.grid).permute(*self.order).reshape(-1, *self.patches))


class PixelsForm(nn.Module):
    """(pixel - mean) / std: clip -> the same."""

    def __init__(self, takes: GraphInput, like: Tensor) -> None:
        """``like``: a weight, for its element type."""
        super().__init__()
        assert takes.normalisation is not None
        behind = (1,) * (len(takes.layout) - 1 - takes.layout.index("C"))
        for name in ("mean", "std"):
            value = like.new_tensor(getattr(takes.normalisation, name)).reshape(-1, *behind)
            setattr(self, name, nn.Parameter(value, requires_grad=False))

    mean: Tensor
    std: Tensor

    def forward(self, clip: Tensor) -> Tensor:
        pixels = clip if clip.is_floating_point() else clip.to(self.mean.dtype)
        return (pixels - self.mean) / self.std


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
        takes: the form of its clips.
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
        takes: GraphInput = USUAL_INPUT,
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
        self.takes, pixels = takes, takes.normalisation is not None
        folded = choices_for(Site(part="embedding", pixels=pixels), rewrites).pixels_in_embedding
        self.pixels = PixelsForm(takes, model.cls_token.detach()) if pixels and not folded else None
        self.patch_embed = PatchEmbedForm(model, takes, normalises=folded)
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
