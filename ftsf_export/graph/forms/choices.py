"""What is decided about each part of the network before its form is made, from where it stands, by the rewrites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.graph.forms.grid import Grid
from ftsf_export.graph.rewrite import ORDER, Rewrites, rewrite_named
from ftsf_export.mechanisms import Algebra, mechanism_named
from ftsf_export.network.scope import TEMPORAL, Branch

# Order of the products of FAVOR+ (``graph.rewrite.favor_order``).
Order = Literal["features", "weights", "pairs"]


# Of parts whose tokens do not attend to each other.
_NO_GRID = Grid(1, 1, 1, 1, "space")


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a part of the network stands, and what it is in the model: all that a rewrite may depend on.

    Attributes:
        part: the patch embedding, an attention with the norm before it, or an MLP with the norm before it.
        algebra: of the attention's mechanism.
        grid: which tokens attend to each other, frame after frame.
        rotated: queries and keys are turned by rotary positions.
        qkv_bias: the product of queries, keys and values has a bias.
        features: number of random features of FAVOR+.
        kernel: FAVOR+'s, "softmax" or "relu".
        gated: the MLP is a GEGLU.
        temporal: the attention over time of a divided block, which a linear map follows.
        framed: the attention within frames of a divided block: every frame has a copy of the stream's class token.
        last: in the last block.
        one_clip: every call of the graph is one clip.
        node: the attention is asked to be one node, which a plugin computes.
        pixels: the graph takes pixels and normalises them.
    """

    part: Literal["embedding", "attention", "mlp"]
    algebra: Algebra = "other"
    grid: Grid = _NO_GRID
    rotated: bool = False
    qkv_bias: bool = False
    features: int = 0
    kernel: str = "softmax"
    gated: bool = False
    temporal: bool = False
    framed: bool = False
    last: bool = False
    one_clip: bool = True
    node: bool = False
    pixels: bool = False


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the rewrites have chosen for one part of the network; the defaults are the model as it is.

    Attributes:
        grid: which tokens attend to each other, in the order in which the graph holds them.
        class_only: the class token alone is computed.
        regrouped: the frames of a position lie side by side, not the tokens of a frame.
        norm_in_product: the norm's gain and bias are in the product behind it.
        order: of FAVOR+'s products.
        halves: pairs of a rotation are elements of two halves, not neighbours.
        scale_in_queries: the softmax scale is in the queries' weights.
        apart: queries, keys and values are three products.
        biases_moved: their biases are where a compiler does not have to copy for them.
        values_last: the values' product comes after the mixture.
        mean_first: the class token's mean over frames comes before the output projection.
        keys_mean: the class token's mean over frames is that of the pooled keys.
        pools_as_attention: additive attention's poolings are products of matrices.
        fc_in_projection: the linear map behind the output projection is part of it.
        gate_apart: a GEGLU's value and gate are two products.
        pixels_in_embedding: the patch embedding's weights normalise the pixels.
    """

    grid: Grid
    class_only: bool = False
    regrouped: bool = False
    norm_in_product: bool = False
    order: Order = "features"
    halves: bool = False
    scale_in_queries: bool = False
    apart: bool = False
    biases_moved: bool = False
    values_last: bool = False
    mean_first: bool = False
    keys_mean: bool = False
    pools_as_attention: bool = False
    fc_in_projection: bool = False
    gate_apart: bool = False
    pixels_in_embedding: bool = False

    def decomposed(self, site: Site) -> bool:
        """Whether the attention is made of standard operators. The class token alone needs no node."""
        return self.class_only or not site.node


def choices_for(site: Site, rewrites: Rewrites) -> Choices:
    """What the ``rewrites`` that apply at ``site`` choose, each after those before it in ``ORDER``."""
    choices = Choices(grid=site.grid)
    for name in ORDER:
        if name in rewrites and (rewrite := rewrite_named(name)).applies(site, choices):
            choices = rewrite.effect(site, choices)
    return choices


def attention_site(
    config: TimeSformerConfig, branch: Branch, *, last: bool, one_clip: bool, plugins: frozenset[str]
) -> Site:
    """The site of an attention; ``plugins``: along what attentions are asked to be nodes."""
    joint = config.attn_type == "joint"
    frames, positions = (1, config.frames * config.num_patches) if joint else (config.frames, config.num_patches)
    mechanism = mechanism_named(config.attn_mechanism)
    divided = config.attn_type == "divided"
    return Site(
        part="attention",
        algebra=mechanism.algebra,
        grid=Grid(frames, positions + branch.holds_class, config.num_heads, config.dim_head, branch.along),
        rotated=config.rotary_emb,
        qkv_bias=config.qkv_bias,
        features=config.num_features,
        kernel=config.performer_kernel,
        temporal=branch is TEMPORAL,
        framed=divided and branch.holds_class,
        last=last,
        one_clip=one_clip,
        node=branch.along in plugins,
    )
