"""What was asked: frozen values, validated in one place. Every bad field is reported at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fast_timesformer.config import ArchitectureError, TimeSformerConfig
from fast_timesformer.rules import FLAG, choice, optional, wrong_fields
from ftsf_export import field_checks
from ftsf_export.architecture import FIELDS, architecture_from_request, request_from_architecture, requested_problems
from ftsf_export.errors import ConfigError
from ftsf_export.precision import FP16, PRECISIONS
from ftsf_export.sizes import BatchRange as BatchRange
from ftsf_export.sizes import Size as Size

# The kinds of videos that a TimeSformer is trained on: see ``checkpoint/dataset.py``.
KINETICS, SSV2 = "kinetics", "ssv2"
DATASETS = (KINETICS, SSV2)
INPUTS = ("float32", "uint8")
LAYOUTS = ("bfchw", "bcfhw")
PLUGINS = ("none", "all", "auto")
FEATURES = ("none", "also", "only")
ENGINE_BUILDERS = ("tensorrt", "rtx")
BUILDERS = ("auto", *ENGINE_BUILDERS, "none")
# How the range of a scale of 8 bits is chosen: see ``quantize/scales.py``.
CALIBRATIONS = ("max", "percentile", "mse", "entropy")
RUNNERS = ("auto", "onnxruntime", "tensorrt", "rtx")
# 20 is read by the oldest TensorRT that a target ships (10.3); the Attention operator exists from 23 on.
OPSET_DECOMPOSED, OPSET_ATTENTION = 20, 23
OPSETS = (20, 21, 22, 23, 24)

_SIZE, _BATCH = Size(224, 224), BatchRange(1, 1, 1)
_WHOLE_NUMBERS = (
    *("frames", "channels", "patch_size", "dim", "depth", "heads", "dim_head", "num_classes"),
    *("workspace_mib", "seed", "opset", "calibration_clips"),
)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """One export, as asked. Raises ConfigError with every bad field when made.

    A checkpoint brings the model's fields: those that are written here (``given``) must agree with it, and the defaults
    of the others give way to it.

    Attributes:
        attn: the attention mechanism.
        attn_type: what attends to what: "divided", "joint" or "space".
        frames: how many frames a clip has.
        size: height and width of a frame in pixels.
        channels: of a pixel.
        patch_size: side of a patch in pixels.
        dim: width of a token.
        depth: how many blocks the model has.
        heads: of each attention; None: dim // dim_head.
        dim_head: width of a head.
        num_classes: width of the logits.
        rotary: rotary positions; False: learned ones.
        norm_eps: epsilon of every LayerNorm.
        checkpoint: a file, a directory or a hub id ("owner/name@revision"); None: random weights.
        trained_on: the kind of videos that a checkpoint was trained on, "kinetics" or "ssv2"; None: what it says.
        seed: what random weights and noise clips are drawn from.
        precision: of the graph.
        opset: of the standard domain; None: chosen by the targets.
        rewrites: names of the exact rewrites; None: all of them.
        plugins: attentions as nodes for TensorRT plugins: "none", "all", or "auto" where the kernel's bound is
            lower.
        input: type of the clips that the graph takes: "float32", or "uint8" for decoded and cropped frames, which it
            normalises itself.
        layout: order of the clip's dimensions, "bfchw" or "bcfhw"; None: "bfchw", of uint8 as decoders give frames,
            (B, F, H, W, C).
        pixels: the graph takes float32 pixels in [0, 1] and normalises them itself.
        features: the class token after the last norm as an output: "none", "also" or "only", without the logits.
        batch: clips in one call.
        builder: what compiles: "auto", "tensorrt", "rtx" or "none".
        targets: names of the machines to compile for.
        workspace_mib: scratch memory of the compiler in MiB; None: its own limit.
        atol: largest absolute difference of the outputs; None: not judged.
        rtol: largest relative L2 error; None: that of the precision.
        videos: files whose frames are judged beside the noise.
        calibration: how ranges of 8 bits are chosen: "max", "percentile", "mse" or "entropy".
        calibration_data: videos, and folders of them, on which these ranges are observed; empty: noise.
        calibration_clips: how many clips are taken of them.
        held_out: a folder CLASS/*.mp4 on which graph and eager PyTorch are compared by their best class.
    """

    attn: str = "fastformer"
    attn_type: str = "divided"
    frames: int = 8
    size: Size = _SIZE
    channels: int = 3
    patch_size: int = 16
    dim: int = 512
    depth: int = 12
    heads: int | None = None
    dim_head: int = 64
    num_classes: int = 400
    rotary: bool = True
    norm_eps: float = 1e-5
    checkpoint: Path | None = None
    trained_on: str | None = None
    seed: int = 0
    precision: str = FP16.name
    opset: int | None = None
    rewrites: tuple[str, ...] | None = None
    plugins: str = "none"
    input: str = "float32"
    layout: str | None = None
    pixels: bool = False
    features: str = "none"
    batch: BatchRange = _BATCH
    builder: str = "auto"
    targets: tuple[str, ...] = ()
    workspace_mib: int | None = None
    atol: float | None = None
    rtol: float | None = None
    videos: tuple[Path, ...] = ()
    held_out: Path | None = None
    calibration: str = "mse"
    calibration_data: tuple[Path, ...] = ()
    calibration_clips: int = 128

    if TYPE_CHECKING:
        # What may be written, for type checkers and editors; a test holds it against the fields and the tables.
        def __init__(
            self,
            *,
            attn: Literal["fastformer", "performer", "regular"] = ...,
            attn_type: Literal["divided", "joint", "space"] = ...,
            frames: int = ...,
            size: Size | int | str | tuple[int, int] = ...,
            channels: int = ...,
            patch_size: int = ...,
            dim: int = ...,
            depth: int = ...,
            heads: int | None = ...,
            dim_head: int = ...,
            num_classes: int = ...,
            rotary: bool = ...,
            norm_eps: float = ...,
            checkpoint: str | Path | None = ...,
            trained_on: Literal["kinetics", "ssv2"] | None = ...,
            seed: int = ...,
            precision: Literal["fp32", "fp16", "bf16", "int8"] = ...,
            opset: int | None = ...,
            rewrites: Iterable[str] | None = ...,
            plugins: Literal["none", "all", "auto"] = ...,
            input: Literal["float32", "uint8"] = ...,
            layout: Literal["bfchw", "bcfhw"] | None = ...,
            pixels: bool = ...,
            features: Literal["none", "also", "only"] = ...,
            batch: BatchRange | int | str = ...,
            builder: Literal["auto", "tensorrt", "rtx", "none"] = ...,
            targets: Iterable[str] = ...,
            workspace_mib: int | None = ...,
            atol: float | None = ...,
            rtol: float | None = ...,
            videos: Iterable[str | Path] = ...,
            held_out: str | Path | None = ...,
            calibration: Literal["max", "percentile", "mse", "entropy"] = ...,
            calibration_data: Iterable[str | Path] = ...,
            calibration_clips: int = ...,
        ) -> None: ...

    # Only the call itself tells a value that was written from a default that happens to be the same.
    def __new__(cls, **written: Any) -> ExportConfig:
        self = super().__new__(cls)
        object.__setattr__(self, "_given", frozenset(written))
        return self

    def __post_init__(self) -> None:
        # What the command line or a Python caller may write (size="240x320", targets=["rtx"]) becomes the field's type.
        found: dict[str, str] = {}
        for name, convert in _CONVERSIONS.items():
            try:
                object.__setattr__(self, name, convert(getattr(self, name)))
            except ConfigError as error:
                found[name] = error.message
        for name, said in wrong_fields(self, _RULES):
            # A user gives the targets one by one, as --target.
            found[name] = f"{'target' if name == 'targets' else name}: {said}"
        if "targets" not in found and len(set(self.targets)) < len(self.targets):
            found["targets"] = f"target: each at most once, got {', '.join(self.targets)}"
        for name, problem in (("size", Size.problem), ("batch", BatchRange.problem)):
            if name not in found and (said := problem(getattr(self, name))):
                found[name] = said
        if self.pixels is True and self.input == "uint8":
            found["pixels"] = "pixels: float32 in 0..1, and input is uint8 in 0..255; leave one of the two out"
        problems = [*found.values(), *_model_problems(self, found)]
        if problems:
            raise ConfigError(problems)

    def __repr__(self) -> str:
        """The fields that were written, as they are written."""
        written = ((name, value) for name, value in vars(self).items() if name in self.given)
        return f"ExportConfig({', '.join(f'{name}={_repr(value)}' for name, value in written)})"

    @property
    def given(self) -> frozenset[str]:
        """Names of the fields that were written; the others hold their defaults."""
        given: frozenset[str] = self.__dict__["_given"]
        return given

    @property
    def architecture(self) -> TimeSformerConfig:
        """The model that is asked for. With a ``checkpoint`` that is known only where it was read."""
        return architecture_from_request(vars(self), height=self.size.height, width=self.size.width)

    def with_architecture(self, architecture: TimeSformerConfig) -> ExportConfig:
        """The same for a model that exists: its fields take the place of those that were asked for."""
        return self.replaced(**request_from_architecture(architecture))

    def disagreements(self, architecture: TimeSformerConfig) -> dict[str, tuple[Any, Any]]:
        """Fields that were given and that ``architecture`` has otherwise: name -> (asked, theirs)."""
        theirs = self.with_architecture(architecture)
        pairs = {name: (getattr(self, name), getattr(theirs, name)) for name in (*FIELDS, "size")}
        return {
            name: (asked, other)
            for name, (asked, other) in pairs.items()
            if name in self.given and asked not in (None, other)
        }

    def replaced(self, **changes: Any) -> ExportConfig:
        """The same with other values; what was given stays given, and so does what is changed."""
        return ExportConfig(**{**{name: getattr(self, name) for name in self.given}, **changes})

    def written(self) -> dict[str, Any]:
        """JSON form of the fields that were written: ``ExportConfig(**config.written())`` asks the same again."""
        return {name: value for name, value in self.as_dict().items() if name in self.given}

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


def _repr(value: Any) -> str:
    return repr(str(value)) if isinstance(value, (Size, BatchRange, Path)) else repr(value)


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "size": Size.of,
    "batch": BatchRange.of,
    "checkpoint": field_checks.to_path,
    "videos": field_checks.to_paths,
    "held_out": field_checks.to_path,
    "calibration_data": field_checks.to_paths,
    "targets": field_checks.to_names,
    "rewrites": field_checks.to_names,
    **dict.fromkeys(_WHOLE_NUMBERS, field_checks.to_whole),
}


_RULES = {
    "precision": choice(*PRECISIONS),
    "builder": choice(*BUILDERS),
    "plugins": choice(*PLUGINS),
    "opset": optional(choice(*OPSETS)),
    "workspace_mib": field_checks.WORKSPACE_MIB,
    "trained_on": optional(choice(*DATASETS)),
    "seed": field_checks.SEED,
    "input": choice(*INPUTS),
    "layout": optional(choice(*LAYOUTS)),
    "pixels": FLAG,
    "features": choice(*FEATURES),
    "atol": field_checks.LIMIT,
    "rtol": field_checks.LIMIT,
    "checkpoint": field_checks.PATH,
    "videos": field_checks.PATHS,
    "held_out": field_checks.PATH,
    "calibration": choice(*CALIBRATIONS),
    "calibration_data": field_checks.PATHS,
    "calibration_clips": field_checks.CALIBRATION_CLIPS,
    "targets": field_checks.NAMES,
    "rewrites": optional(field_checks.NAMES),
}


def _model_problems(config: ExportConfig, broken: Collection[str]) -> list[str]:
    """What is wrong with the model that is asked for, in the architecture's own words; ``broken`` is said already.

    With a checkpoint the model's fields may still give way to it: what is wrong between them is judged
    where it is read.
    """
    # A size that is none is said already; the size of one patch leaves nothing to say of it.
    height, width = (config.patch_size,) * 2 if "size" in broken else (config.size.height, config.size.width)
    try:
        architecture_from_request(vars(config), height=height, width=width)
    except ArchitectureError as error:
        found = requested_problems(error, relations=config.checkpoint is None)
        return [f"{name}: {said}" for name, said in found if name not in broken]
    return []


# ``__new__`` hides the fields from ``help()`` and notebooks otherwise.
ExportConfig.__signature__ = Signature(  # type: ignore[attr-defined]
    [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields(ExportConfig)
    ]
)
