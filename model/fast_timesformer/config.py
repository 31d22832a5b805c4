"""What a FastTimeSformer is made of: one frozen value, every wrong field reported at once. No torch here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

MECHANISMS = ("fastformer", "performer", "regular")
ATTENTION_TYPES = ("divided", "joint", "space")
MLP_ACTIVATIONS = ("geglu", "gelu")
LEARNED_EMBEDDINGS = ("token", "factored")
PERFORMER_KERNELS = ("softmax", "relu")


@dataclass(frozen=True)
class TimeSformerConfig:
    """The architecture. Raises ValueError, one sentence for each wrong field, when made.

    Attributes:
        frames, channels, height, width: the clip; pixels for the last two.
        num_classes: width of the logits.
        dim: D, width of a token.
        patch_size: side of a square patch in pixels; divides height and width.
        depth: number of blocks.
        heads: H; None means ``dim // dim_head``.
        dim_head: K, width of a head.
        mlp_mult: the MLP's hidden width R is ``mlp_mult * dim``.
        drop_path: probability of dropping a branch in the last block; grows linearly from 0 in the first one
            (a single block drops nothing), as in the original TimeSformer.
        attn_dropout: probability of dropping an attention weight; ``performer`` forms none, so it takes 0 only.
        proj_dropout: probability of dropping an element of an attention's or an MLP's output.
        rotary_emb: rotary positions (Su et al. 2021); False: learned absolute ones.
        attn_mechanism: ``fastformer``, ``performer`` or ``regular``.
        attn_type: ``divided``, ``joint`` or ``space``.
        frames_first: the clip is (B, F, C, H, W); False: (B, C, F, H, W).
        qkv_bias: the query, key and value map has a bias.
        mlp_act: ``geglu`` (Shazeer 2020) or ``gelu``.
        norm_eps: epsilon of every LayerNorm.
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
    mlp_mult: int = 4
    drop_path: float = 0.1
    attn_dropout: float = 0.0
    proj_dropout: float = 0.0
    rotary_emb: bool = True
    attn_mechanism: str = "fastformer"
    attn_type: str = "divided"
    frames_first: bool = True
    qkv_bias: bool = False
    mlp_act: str = "geglu"
    norm_eps: float = 1e-5
    learned_emb: str = "token"
    performer_features: int | None = None
    performer_kernel: str = "softmax"
    ortho_scaling: int = 0

    def __post_init__(self) -> None:
        # Relations between fields are judged only where each field is sound by itself.
        problems = _field_problems(self) or _relation_problems(self)
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def num_heads(self) -> int:
        """H."""
        return self.heads if self.heads is not None else self.dim // self.dim_head

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


def default_features(dim_head: int) -> int:
    """M = int(K ln K), enough for a uniform approximation (Choromanski et al. 2020, theorem 4); at least 1."""
    return max(1, int(dim_head * math.log(dim_head)))


def _field_problems(config: TimeSformerConfig) -> list[str]:
    return [
        *_count_problems(config),
        *_fraction_problems(config),
        *_choice_problems(config),
        *(
            f"{name}: expected True or False, got {getattr(config, name)!r}"
            for name in ("rotary_emb", "frames_first", "qkv_bias")
            if not isinstance(getattr(config, name), bool)
        ),
    ]


def _count_problems(config: TimeSformerConfig) -> list[str]:
    optional = ("heads", "performer_features")
    names = (
        *("frames", "channels", "height", "width", "num_classes", "dim", "patch_size", "depth"),
        *("heads", "dim_head", "mlp_mult", "performer_features"),
    )
    problems = []
    for name in names:
        value = getattr(config, name)
        if value is None and name in optional:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            problems.append(f"{name}: expected a whole number of at least 1, got {value!r}")
    return problems


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _fraction_problems(config: TimeSformerConfig) -> list[str]:
    problems = []
    for name in ("drop_path", "attn_dropout", "proj_dropout"):
        value = getattr(config, name)
        if not _is_number(value) or not 0 <= value < 1:
            problems.append(f"{name}: expected a probability, at least 0 and below 1, got {value!r}")
    if not _is_number(config.norm_eps) or not 0 < config.norm_eps < math.inf:
        problems.append(f"norm_eps: expected a finite number above 0, got {config.norm_eps!r}")
    return problems


def _choice_problems(config: TimeSformerConfig) -> list[str]:
    choices: tuple[tuple[str, tuple[object, ...]], ...] = (
        ("attn_mechanism", MECHANISMS),
        ("attn_type", ATTENTION_TYPES),
        ("mlp_act", MLP_ACTIVATIONS),
        ("learned_emb", LEARNED_EMBEDDINGS),
        ("performer_kernel", PERFORMER_KERNELS),
        ("ortho_scaling", (0, 1)),
    )
    return [
        f"{name}: expected one of {', '.join(map(str, allowed))}, got {getattr(config, name)!r}"
        for name, allowed in choices
        if getattr(config, name) not in allowed
    ]


def _relation_problems(config: TimeSformerConfig) -> list[str]:
    problems = []
    for name in ("height", "width"):
        pixels = getattr(config, name)
        if pixels % config.patch_size:
            problems.append(f"{name}: expected a multiple of patch_size {config.patch_size}, got {pixels}")
    return [*problems, *_head_problems(config), *_position_problems(config), *_mechanism_problems(config)]


def _head_problems(config: TimeSformerConfig) -> list[str]:
    if config.heads is None and config.dim % config.dim_head:
        return [
            f"dim: expected a multiple of dim_head {config.dim_head} where heads is not given, got {config.dim}; "
            "give heads as well"
        ]
    if config.attn_mechanism == "fastformer" and config.num_heads * config.dim_head != config.dim:
        return [
            f"heads: fastformer adds its queries to the output, so heads * dim_head must be dim {config.dim}, "
            f"got {config.num_heads} * {config.dim_head}"
        ]
    return []


def _position_problems(config: TimeSformerConfig) -> list[str]:
    if not config.rotary_emb:
        return []
    problems = []
    # Pairs for rows and pairs for columns; joint attention gives them half of the head width.
    multiple = 8 if config.attn_type == "joint" else 4
    if config.dim_head % multiple:
        problems.append(
            f"dim_head: rotary positions in {config.attn_type} attention need a multiple of {multiple}, "
            f"got {config.dim_head}"
        )
    if config.learned_emb != "token":
        problems.append(f"learned_emb: {config.learned_emb!r} needs rotary_emb=False, got rotary_emb=True")
    return problems


def _mechanism_problems(config: TimeSformerConfig) -> list[str]:
    if config.attn_mechanism == "performer":
        if config.attn_dropout:
            return [
                "attn_dropout: performer forms no attention weights to drop; expected 0, "
                f"got {config.attn_dropout!r}; proj_dropout works with it"
            ]
        return []
    defaults = {"performer_features": None, "performer_kernel": "softmax", "ortho_scaling": 0}
    return [
        f"{name}: only performer has it; expected {default!r} with attn_mechanism {config.attn_mechanism!r}, "
        f"got {getattr(config, name)!r}"
        for name, default in defaults.items()
        if getattr(config, name) != default
    ]
