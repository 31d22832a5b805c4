"""A network by the shapes of its tensors, for files that have no configuration of it: the original's, mmaction2's.

What no shape tells is how many heads there are and the epsilon of LayerNorm; of space-only attention also the frames.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.checkpoint.found import mlp_fields
from ftsf_export.checkpoint.huggingface import PRETRAINED
from ftsf_export.checkpoint.tensors import TensorFile
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError

FRAMES = 8
# The one network of which weights are published, by everybody: (width, depth, patch, hidden width, qkv bias); how many
# heads it has, and its epsilon.
BASE = (768, 12, 16, 3072, True)
BASE_HEADS, BASE_EPS = 12, 1e-6


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the tensors are called that say what the network is."""

    kind: str  #: Whose layout it is, for people.
    patch: str  #: The convolution that embeds patches.
    positions: str  #: One a patch, and one of the class token.
    times: str  #: One a frame; not with space-only attention.
    block: str  #: A pattern of what a name in a block starts with; its group is the block's number.
    hidden: str  #: The first map of the first block's MLP.
    qkv_bias: str  #: The bias of the first block's queries, keys and values, over space or over all tokens.
    temporal: str  #: A tensor of the first block that divided attention alone has.
    head: str  #: The classifier.


@dataclass(frozen=True)
class Untold:
    """What no shape tells."""

    heads: int  #: H.
    norm_eps: float  #: Epsilon of every LayerNorm.
    frames: int | None  #: Of a clip; None where nobody says.
    assumed: tuple[str, ...] = ()  #: Names of those fields that nobody said.


def network_of(tensors: TensorFile, layout: Layout) -> tuple[int, int, int, int, bool]:
    """Width, depth, patch, hidden width, qkv bias: what of a network is as in ``BASE`` or not."""
    dim, _, patch, _ = _shape(tensors, layout, layout.patch, 4)
    blocks = {int(match[1]) for name in tensors.shapes if (match := re.match(layout.block, name))}
    hidden = _shape(tensors, layout, layout.hidden, 2)[0]
    return dim, max(blocks, default=0) + 1, patch, hidden, layout.qkv_bias in tensors.shapes


def asked_heads(config: ExportConfig, dim: int) -> int | None:
    """What the user says of the number of heads."""
    if "heads" in config.given and config.heads is not None:
        return config.heads
    return dim // config.dim_head if "dim_head" in config.given else None


def architecture_of(
    tensors: TensorFile, layout: Layout, untold: Untold, config: ExportConfig
) -> tuple[TimeSformerConfig, tuple[str, ...]]:
    """The network, and what a user has to know. ``config`` is asked for the size where positions make no square.

    Raises UsageError where the shapes are not those of a TimeSformer.
    """
    dim, depth, patch, hidden, qkv_bias = network_of(tensors, layout)
    if untold.heads < 1 or dim % untold.heads:
        raise UsageError(f"heads: expected a divisor of the checkpoint's width {dim}, got {untold.heads}; give --heads")
    rows, columns = _grid(tensors, layout, config, patch)
    warnings: tuple[str, ...] = ()
    if layout.times in tensors.shapes:
        frames = _shape(tensors, layout, layout.times, 3)[1]
        attn_type = "divided" if layout.temporal in tensors.shapes else "joint"
    else:
        attn_type, frames = "space", untold.frames or FRAMES
        if untold.frames is None:
            warnings = (f"{tensors.path.name} does not say for how many frames it was trained: {FRAMES} are taken",)
    try:
        model = TimeSformerConfig(
            frames=frames,
            channels=_shape(tensors, layout, layout.patch, 4)[1],
            height=rows * patch,
            width=columns * patch,
            num_classes=_shape(tensors, layout, f"{layout.head}.weight", 2)[0] if tensors.has(f"{layout.head}.") else 0,
            dim=dim,
            patch_size=patch,
            depth=depth,
            heads=untold.heads,
            dim_head=dim // untold.heads,
            **mlp_fields(hidden, dim),
            attn_type=attn_type,
            qkv_bias=qkv_bias,
            norm_eps=untold.norm_eps,
            **PRETRAINED,
        )
    except ValueError as error:
        raise UsageError(f"checkpoint: {tensors.path}: its shapes are not those of a TimeSformer: {error}") from error
    return model, warnings


def _grid(tensors: TensorFile, layout: Layout, config: ExportConfig, patch: int) -> tuple[int, int]:
    """Rows and columns of patches: square where the number of positions is, else those of the size that was given."""
    patches = _shape(tensors, layout, layout.positions, 3)[1] - 1
    side = math.isqrt(patches)
    if side * side == patches:
        return side, side
    grid = (config.size.height // patch, config.size.width // patch)
    if "size" not in config.given or grid[0] * grid[1] != patches:
        raise UsageError(
            f"checkpoint: {tensors.path}: positions of {patches} patches of {patch} px, which make no square: give the "
            f"frames that it was trained with, --size HEIGHTxWIDTH of {patches} patches"
        )
    return grid


def _shape(tensors: TensorFile, layout: Layout, name: str, rank: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there with ``rank`` axes, none of them empty."""
    shape = tensors.shapes.get(name)
    if shape is None or len(shape) != rank or 0 in shape:
        raise UsageError(
            f"checkpoint: {tensors.path}: expected {name} with {rank} axes, got "
            f"{'none' if shape is None else shape}; it is not laid out like a file of {layout.kind}"
        )
    return shape
