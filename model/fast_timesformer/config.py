"""What a FastTimeSformer is made of: one frozen value, every wrong field reported at once. No torch here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any
from warnings import warn

from fast_timesformer.mechanism import MECHANISMS, Mechanism, mechanism_named
from fast_timesformer.rules import FLAG, POSITIVE, Rule, choice, number, optional, whole, wrong_fields

ATTENTION_TYPES = ("divided", "joint", "space")
MLP_ACTIVATIONS = ("geglu", "gelu")
LEARNED_EMBEDDINGS = ("token", "factored")
PERFORMER_KERNELS = ("softmax", "relu")
# Pixel statistics of TimeSformer's training (facebookresearch/TimeSformer, DATA.MEAN and DATA.STD), for pixels in 0..1.
PIXEL_MEAN, PIXEL_STD = 0.45, 0.225

# What only mechanisms with random features have, at the values that every other one keeps.
_FEATURES_ONLY: dict[str, Any] = {"performer_features": None, "performer_kernel": "softmax", "ortho_scaling": 0}


@dataclass(frozen=True)
class Problem:
    """One wrong field of an architecture."""

    field: str  #: Its name.
    said: str  #: What was expected, what it is, and where there is a mend, the mend.
    alone: bool  #: Whether the field is wrong by itself; False: only beside other fields.


class ArchitectureError(ValueError):
    """No such architecture: ``problems`` has every wrong field."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.said}" for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class TimeSformerConfig:
    """The architecture. Raises ArchitectureError, one sentence for each wrong field, when made.

    Attributes:
        frames: F, frames of a clip.
        channels: C, colours of a pixel.
        height: of a frame, in pixels.
        width: of a frame, in pixels.
        num_classes: width of the logits; 0: there is no head, and the model gives the class token after the last norm.
        dim: D, width of a token.
        patch_size: side of a square patch in pixels; divides height and width.
        depth: number of blocks.
        heads: H; None means ``dim // dim_head``.
        dim_head: K, width of a head.
        drop_path: probability of dropping a branch in the last block; grows linearly from 0 in the first one
            (a single block drops nothing), as in the original TimeSformer.
        attn_dropout: probability of dropping an attention weight; of ``performer``, which has none, a value.
        proj_dropout: probability of dropping an element of an attention's or an MLP's output.
        rotary_emb: rotary positions (Su et al. 2021); False: learned absolute ones.
        attn_mechanism: a name of ``fast_timesformer.mechanism``: ``fastformer``, ``performer`` or ``regular``.
        attn_type: ``divided``, ``joint`` or ``space``.
        frames_first: the clip is (B, F, C, H, W); False: (B, C, F, H, W).
        mlp_mult: the MLP's hidden width R is ``mlp_mult * dim``, where ``mlp_dim`` does not say it.
        qkv_bias: the query, key and value map has a bias.
        qk_scale: what multiplies scores before a softmax; None means ``1 / sqrt K``.
        mlp_act: ``geglu`` (Shazeer 2020) or ``gelu``.
        norm_eps: epsilon of every LayerNorm.
        mlp_dim: the MLP's hidden width R; None means ``mlp_mult * dim``.
        learned_emb: without rotary positions, one embedding a ``token``, or ``factored`` into space and time.
        performer_features: M, random features of FAVOR+; None means ``int(K ln K)``.
        performer_kernel: ``softmax`` or ``relu``.
        ortho_scaling: norms of the projection's rows: 0 chi-distributed (unbiased), 1 exactly sqrt K.
    """

    frames: int
    channels: int
    height: int
    width: int
    num_classes: int
    dim: int = 128
    patch_size: int = 16
    depth: int = 12
    heads: int | None = None
    dim_head: int = 64
    drop_path: float = 0.1
    attn_dropout: float = 0.0
    proj_dropout: float = 0.0
    rotary_emb: bool = True
    attn_mechanism: str = "fastformer"
    attn_type: str = "divided"
    frames_first: bool = True
    mlp_mult: int = field(default=4, kw_only=True)
    qkv_bias: bool = field(default=False, kw_only=True)
    qk_scale: float | None = field(default=None, kw_only=True)
    mlp_act: str = field(default="geglu", kw_only=True)
    norm_eps: float = field(default=1e-5, kw_only=True)
    mlp_dim: int | None = field(default=None, kw_only=True)
    learned_emb: str = field(default="token", kw_only=True)
    performer_features: int | None = field(default=None, kw_only=True)
    performer_kernel: str = field(default="softmax", kw_only=True)
    ortho_scaling: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        found = [Problem(*problem, alone=True) for problem in wrong_fields(self, _rules())]
        # A relation between fields is judged only where each of them is sound by itself.
        broken = {problem.field for problem in found}
        for names, judge in _RELATIONS:
            if not broken & set(names):
                found += [Problem(*problem, alone=False) for problem in judge(self)]
        if found:
            raise ArchitectureError(found)

    @property
    def mechanism(self) -> Mechanism:
        """The entry of the attention mechanism."""
        return mechanism_named(self.attn_mechanism)

    @property
    def num_heads(self) -> int:
        """H."""
        return self.heads if self.heads is not None else self.dim // self.dim_head

    @property
    def hidden_dim(self) -> int:
        """R, width of the MLP's hidden layer."""
        return self.mlp_dim if self.mlp_dim is not None else self.mlp_mult * self.dim

    @property
    def num_features(self) -> int:
        """M, the number of random features of FAVOR+."""
        return self.performer_features if self.performer_features is not None else default_features(self.dim_head)

    @property
    def rows(self) -> int:
        """Rows of patches in a frame."""
        return self.height // self.patch_size

    @property
    def columns(self) -> int:
        """Columns of patches in a frame."""
        return self.width // self.patch_size

    @property
    def num_patches(self) -> int:
        """P, patches in a frame."""
        return self.rows * self.columns

    @property
    def num_tokens(self) -> int:
        """N, tokens of a clip: the class token and F * P patches."""
        return 1 + self.frames * self.num_patches

    def with_mechanism(self, name: str) -> TimeSformerConfig:
        """The same with another attention mechanism; what the new one does not have is left behind."""
        if name == self.attn_mechanism:
            return self
        return replace(self, attn_mechanism=name, **_FEATURES_ONLY)

    def as_dict(self) -> dict[str, Any]:
        """JSON form; ``from_dict`` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TimeSformerConfig:
        """Raises ValueError on unknown, missing or wrong fields, each named."""
        known = {field.name for field in fields(cls)}
        required = ("frames", "channels", "height", "width", "num_classes")
        problems = [f"{name}: unknown field" for name in sorted(set(data) - known)]
        problems += [f"{name}: missing" for name in required if name not in data]
        if problems:
            raise ValueError("; ".join(problems))
        return cls(**data)


def heads_taken(heads: int | None, dim: int, dim_head: int, mechanism: str, *, stacklevel: int) -> int | None:
    """Heads as the model's own class takes them, where they do not make up the ``dim``.

    FastTimeSformer 0.2.2 has ``dim // dim_head`` of them, whatever it is given. A mechanism that adds its queries has
    as many here, for any divisor of ``dim``; the others have what is given. A warning says how many, at ``stacklevel``.
    Wrong values are returned as they are: the configuration refuses them.
    """
    sound = all(whole(1).holds(value) for value in (heads, dim, dim_head)) and mechanism in MECHANISMS
    if heads is None or not sound or dim % dim_head or heads * dim_head == dim:
        return heads
    theirs = dim // dim_head
    if not MECHANISMS[mechanism].adds_queries:
        said = f"{heads} of width {dim_head} are used, {heads * dim_head} in all for dim {dim}; FastTimeSformer 0.2.2"
        warn(f"heads: {said} ignores heads and has {theirs}: leave heads out for that", stacklevel=stacklevel)
        return heads
    if dim % heads:
        return heads
    said = f"{theirs} of width {dim_head} are used, not {heads}: {mechanism} has as many as make up dim {dim}"
    warn(f"heads: {said}", stacklevel=stacklevel)
    return theirs


def default_features(dim_head: int) -> int:
    """M = int(K ln K), enough for a uniform approximation (Choromanski et al. 2020, theorem 4); at least 1."""
    return max(1, int(dim_head * math.log(dim_head)))


_PROBABILITY = number("a probability, at least 0 and below 1", lambda value: 0 <= value < 1)
_COUNTS = ("frames", "channels", "height", "width", "dim", "patch_size", "depth", "dim_head", "mlp_mult")


def _rules() -> dict[str, Rule]:
    """Field -> what it has to be by itself. A function, since mechanisms are registered later too."""
    return {
        **dict.fromkeys(_COUNTS, whole(1)),
        "num_classes": whole(0),
        **dict.fromkeys(("heads", "mlp_dim", "performer_features"), optional(whole(1))),
        **dict.fromkeys(("drop_path", "attn_dropout", "proj_dropout"), _PROBABILITY),
        "norm_eps": POSITIVE,
        "qk_scale": optional(POSITIVE),
        "attn_mechanism": choice(*MECHANISMS),
        "attn_type": choice(*ATTENTION_TYPES),
        "mlp_act": choice(*MLP_ACTIVATIONS),
        "learned_emb": choice(*LEARNED_EMBEDDINGS),
        "performer_kernel": choice(*PERFORMER_KERNELS),
        "ortho_scaling": choice(0, 1),
        **dict.fromkeys(("rotary_emb", "frames_first", "qkv_bias"), FLAG),
    }


def _patch_problems(config: TimeSformerConfig) -> list[tuple[str, str]]:
    patch, problems = config.patch_size, []
    for name in ("height", "width"):
        pixels = getattr(config, name)
        if pixels % patch:
            below = pixels // patch * patch
            nearest = " or ".join(str(side) for side in (below, below + patch) if side)
            problems.append((name, f"expected a multiple of patch_size {patch}, got {pixels}; take {nearest}"))
    return problems


def _head_problems(config: TimeSformerConfig) -> list[tuple[str, str]]:
    if config.heads is None and config.dim % config.dim_head:
        below = config.dim // config.dim_head * config.dim_head
        nearest = " or ".join(str(width) for width in (below, below + config.dim_head) if width)
        expected = f"expected a multiple of dim_head {config.dim_head} where heads is not given"
        return [("dim", f"{expected}, got {config.dim}; take {nearest}, or give heads as well")]
    if config.mechanism.adds_queries and config.num_heads * config.dim_head != config.dim:
        because = f"{config.attn_mechanism} adds its queries to the output, so heads * dim_head must be"
        fit = "" if config.dim % config.dim_head else f"; take {config.dim // config.dim_head} heads"
        return [("heads", f"{because} dim {config.dim}, got {config.num_heads} * {config.dim_head}{fit}")]
    return []


def _rotary_problems(config: TimeSformerConfig) -> list[tuple[str, str]]:
    # Pairs for rows and pairs for columns; joint attention gives them half of the head width.
    multiple = 8 if config.attn_type == "joint" else 4
    if not config.rotary_emb or config.dim_head % multiple == 0:
        return []
    needed = f"rotary positions in {config.attn_type} attention need a multiple of {multiple}"
    return [("dim_head", f"{needed}, got {config.dim_head}; or turn rotary_emb off")]


def _learned_problems(config: TimeSformerConfig) -> list[tuple[str, str]]:
    if not config.rotary_emb or config.learned_emb == "token":
        return []
    return [("learned_emb", f"{config.learned_emb!r} needs rotary_emb=False, got rotary_emb=True")]


def _mechanism_problems(config: TimeSformerConfig) -> list[tuple[str, str]]:
    if config.mechanism.has_features:
        return []
    having = " and ".join(name for name, one in MECHANISMS.items() if one.has_features)
    other = f"with attn_mechanism {config.attn_mechanism!r}"
    return [
        (name, f"only {having} has it; expected {default!r} {other}, got {getattr(config, name)!r}")
        for name, default in _FEATURES_ONLY.items()
        if getattr(config, name) != default
    ]


# The fields of each relation, and the function that judges it.
_RELATIONS: tuple[tuple[tuple[str, ...], Callable[[TimeSformerConfig], list[tuple[str, str]]]], ...] = (
    (("height", "width", "patch_size"), _patch_problems),
    (("attn_mechanism", "dim", "heads", "dim_head"), _head_problems),
    (("rotary_emb", "attn_type", "dim_head"), _rotary_problems),
    (("rotary_emb", "learned_emb"), _learned_problems),
    (("attn_mechanism", *_FEATURES_ONLY), _mechanism_problems),
)
