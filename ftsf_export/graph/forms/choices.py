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
    """Where a part of the network stands, and what it is in the model: all that a rewrite may depend on."""

    #: The patch embedding, an attention with the norm before it, or an MLP with the norm before it.
    part: Literal["embedding", "attention", "mlp"]
    algebra: Algebra = "other"  #: Of the attention's mechanism.
    grid: Grid = _NO_GRID  #: Which tokens attend to each other, frame after frame.
    rotated: bool = False  #: Queries and keys are turned by rotary positions.
    qkv_bias: bool = False  #: The product of queries, keys and values has a bias.
    features: int = 0  #: Number of random features of FAVOR+.
    kernel: str = "softmax"  #: FAVOR+'s, "softmax" or "relu".
    gated: bool = False  #: The MLP is a GEGLU.
    temporal: bool = False  #: The attention over time of a divided block, which a linear map follows.
    #: The attention within frames of a divided block: every frame has a copy of the stream's class token.
    framed: bool = False
    last: bool = False  #: In the last block.
    one_clip: bool = True  #: Every call of the graph is one clip.
    node: bool = False  #: The attention is asked to be one node, which a plugin computes.
    pixels: bool = False  #: The graph takes pixels and normalises them.


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the rewrites have chosen for one part of the network; the defaults are the model as it is."""

    grid: Grid  #: Which tokens attend to each other, in the order in which the graph holds them.
    class_only: bool = False  #: The class token alone is computed.
    regrouped: bool = False  #: The frames of a position lie side by side, not the tokens of a frame.
    norm_in_product: bool = False  #: The norm's gain and bias are in the product behind it.
    order: Order = "features"  #: Of FAVOR+'s products.
    halves: bool = False  #: Pairs of a rotation are elements of two halves, not neighbours.
    scale_in_queries: bool = False  #: The softmax scale is in the queries' weights.
    apart: bool = False  #: Queries, keys and values are three products.
    biases_moved: bool = False  #: Their biases are where a compiler does not have to copy for them.
    values_last: bool = False  #: The values' product comes after the mixture.
    mean_first: bool = False  #: The class token's mean over frames comes before the output projection.
    keys_mean: bool = False  #: The class token's mean over frames is that of the pooled keys.
    pools_as_attention: bool = False  #: Additive attention's poolings are products of matrices.
    fc_in_projection: bool = False  #: The linear map behind the output projection is part of it.
    gate_apart: bool = False  #: A GEGLU's value and gate are two products.
    pixels_in_embedding: bool = False  #: The patch embedding's weights normalise the pixels.

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
