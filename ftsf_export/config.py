"""What was asked: frozen values, validated in one place. Every bad field is reported at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ftsf_export.errors import ConfigError

ATTENTIONS = ("fastformer", "performer", "regular")
ATTENTION_TYPES = ("divided", "joint", "space")
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")
BUILDERS = ("auto", "tensorrt", "rtx", "none")
# int8 and fp8 are names of the interface, so that a target can say whether it knows them; no stage makes them yet.
OFFERED_PRECISIONS = ("fp32", "fp16", "bf16")
OPSETS = (20, 21, 22, 23, 24)


@dataclass(frozen=True)
class Size:
    """Height and width of a frame in pixels. Written ``224`` or ``240x320`` (height x width)."""

    height: int
    width: int

    @classmethod
    def parse(cls, text: str | int) -> Size:
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", str(text).strip().lower())
        if match is None:
            raise ConfigError([f"size: expected 224 or 240x320 (height x width), got {text!r}"])
        height = int(match[1])
        return cls(height, int(match[2] or height))

    def __str__(self) -> str:
        return str(self.height) if self.height == self.width else f"{self.height}x{self.width}"


@dataclass(frozen=True)
class BatchRange:
    """Clips in one call: the least, the usual and the most. Written ``4`` or ``1:4:8``."""

    minimum: int
    optimum: int
    maximum: int

    @classmethod
    def parse(cls, text: str | int) -> BatchRange:
        parts = str(text).strip().split(":")
        if len(parts) not in (1, 3) or not all(re.fullmatch(r"\d+", part) for part in parts):
            raise ConfigError([f"batch: expected one number or MIN:OPT:MAX, got {text!r}"])
        low, *rest = (int(part) for part in parts)
        batch = cls(low, *(rest or (low, low)))
        if problem := batch.problem():
            raise ConfigError([problem])
        return batch

    def problem(self) -> str:
        if 1 <= self.minimum <= self.optimum <= self.maximum:
            return ""
        return f"batch: expected 1 <= MIN <= OPT <= MAX, got {self.minimum}:{self.optimum}:{self.maximum}"

    @property
    def static(self) -> bool:
        """One size only: the graph then has no dynamic dimension."""
        return self.minimum == self.maximum

    def __str__(self) -> str:
        return str(self.minimum) if self.static else f"{self.minimum}:{self.optimum}:{self.maximum}"


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """One export, as asked. Raises ConfigError with every bad field when made.

    The model: ``attn``, ``attn_type``, ``frames``, ``size``, ``channels``, ``patch_size``, ``dim``, ``depth``,
    ``heads`` (None: dim // dim_head), ``dim_head``, ``num_classes``, ``rotary``; ``checkpoint`` (None: random
    weights drawn from ``seed``). The file: ``precision``, ``opset`` (None: chosen by target), ``batch``. The
    engine: ``builder``, ``targets``, ``workspace_mib`` (None: the compiler's own limit). The proof: ``atol``
    (largest absolute difference of the logits; None: not judged), ``rtol`` (relative L2 error; None: by
    precision), ``videos`` (judged beside seeded noise).
    """

    attn: str = "fastformer"
    attn_type: str = "divided"
    frames: int = 8
    size: Size = Size(224, 224)
    channels: int = 3
    patch_size: int = 16
    dim: int = 512
    depth: int = 12
    heads: int | None = None
    dim_head: int = 64
    num_classes: int = 400
    rotary: bool = True
    checkpoint: Path | None = None
    seed: int = 0
    precision: str = "fp16"
    opset: int | None = None
    batch: BatchRange = BatchRange(1, 1, 1)
    builder: str = "auto"
    targets: tuple[str, ...] = ()
    workspace_mib: int | None = None
    atol: float | None = None
    rtol: float | None = None
    videos: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        # Strings are accepted where the command line takes strings, so that Python callers may write size="240x320".
        problems: list[str] = []
        for name, convert in (("size", Size.parse), ("batch", BatchRange.parse)):
            value = getattr(self, name)
            if isinstance(value, (str, int)):
                try:
                    object.__setattr__(self, name, convert(value))
                except ConfigError as error:
                    problems.extend(error.problems)
        problems.extend(_problems(self))
        if problems:
            raise ConfigError(problems)

    @property
    def num_heads(self) -> int:
        return self.heads if self.heads is not None else self.dim // self.dim_head

    @property
    def num_patches(self) -> int:
        """Patches in one frame."""
        return (self.size.height // self.patch_size) * (self.size.width // self.patch_size)

    def replaced(self, **changes: Any) -> ExportConfig:
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """JSON form: sizes and ranges as they are written, paths as file names (no path of the machine)."""
        out: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (Size, BatchRange)):
                value = str(value)
            elif isinstance(value, Path):
                value = value.name
            elif isinstance(value, tuple):
                value = [item.name if isinstance(item, Path) else item for item in value]
            out[field.name] = value
        return out


def _problems(config: ExportConfig) -> list[str]:
    return [*_choice_problems(config), *_range_problems(config), *_shape_problems(config)]


def _choice_problems(config: ExportConfig) -> list[str]:
    choices: tuple[tuple[str, tuple[object, ...]], ...] = (
        ("attn", ATTENTIONS),
        ("attn_type", ATTENTION_TYPES),
        ("precision", PRECISIONS),
        ("builder", BUILDERS),
        ("opset", (None, *OPSETS)),
    )
    return [
        f"{name}: expected one of {', '.join(str(c) for c in allowed if c is not None)}, got {getattr(config, name)!r}"
        for name, allowed in choices
        if getattr(config, name) not in allowed
    ]


def _range_problems(config: ExportConfig) -> list[str]:
    problems = []
    for name in ("frames", "channels", "patch_size", "dim", "depth", "heads", "dim_head", "num_classes", "workspace_mib"):
        value = getattr(config, name)
        if value is None and name in ("heads", "workspace_mib"):
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            problems.append(f"{name}: expected a whole number of at least 1, got {value!r}")
    if not isinstance(config.seed, int) or config.seed < 0:
        problems.append(f"seed: expected a whole number of at least 0, got {config.seed!r}")
    for name in ("atol", "rtol"):
        value = getattr(config, name)
        if value is not None and not 0 < value < float("inf"):
            problems.append(f"{name}: expected a number above 0, got {value!r}")
    if isinstance(config.batch, BatchRange) and (problem := config.batch.problem()):
        problems.append(problem)
    if len(set(config.targets)) != len(config.targets):
        problems.append(f"target: each at most once, got {', '.join(config.targets)}")
    return problems


def _shape_problems(config: ExportConfig) -> list[str]:
    problems = []
    if not isinstance(config.size, Size):
        return problems
    if config.patch_size > 0:
        for side, pixels in (("height", config.size.height), ("width", config.size.width)):
            if pixels < 1 or pixels % config.patch_size:
                below = pixels // config.patch_size * config.patch_size
                nearest = ", ".join(str(n) for n in (below, below + config.patch_size) if n > 0)
                problems.append(
                    f"size: {side} {pixels} is not a multiple of the patch size {config.patch_size}; nearest: {nearest}"
                )
    if config.dim_head > 0 and config.heads is None and config.dim % config.dim_head:
        problems.append(f"dim: {config.dim} is not a multiple of the head width {config.dim_head}; give heads as well")
    elif config.attn == "fastformer" and config.dim_head > 0 and config.num_heads * config.dim_head != config.dim:
        problems.append(
            f"heads: fastformer adds its queries to the output, so heads x head width must be dim {config.dim}, "
            f"got {config.num_heads} x {config.dim_head}"
        )
    if config.rotary and config.dim_head % 4:
        problems.append(f"dim_head: rotary positions turn pairs along rows and columns: a multiple of 4, got {config.dim_head}")
    return problems
