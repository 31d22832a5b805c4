"""The parts of a manifest: one frozen dataclass each, with ``as_dict`` and the strict ``from_fields``."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle.fields import Fields

TOKENS = ("all", "class")
BATCH = "batch"
# Pixel statistics of TimeSformer's training (facebookresearch/TimeSformer, DATA.MEAN and DATA.STD).
MEAN, STD = 0.45, 0.225
# Frames of the video that one clip spans: TimeSformer takes 8 frames 32 apart, or 16 frames 16 apart (Bertasius et
# al. 2021, section 4.3), which is about ten seconds, a Kinetics video, at 25 frames a second.
SPAN = 256
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _sha256(fields: Fields, name: str) -> str:
    text = fields.text(name)
    if not _SHA256.fullmatch(text):
        raise fields.wrong(name, "64 hexadecimal digits", text)
    return text


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of the graph.

    ``shape`` holds sizes, and "batch" for the dynamic dimension. ``layout`` is one letter a dimension ("BFCHW").
    ``values`` says what the numbers are ("RGB, normalised by mean and std", "unnormalised class scores").
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    layout: str
    values: str

    def __post_init__(self) -> None:
        if len(self.layout) != len(self.shape):
            raise ValueError(
                f"tensor {self.name!r}: layout {self.layout!r} does not name each dimension of {self.shape}"
            )
        for size in self.shape:
            if size != BATCH and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
                raise ValueError(f"tensor {self.name!r}: a size is a whole number or {BATCH!r}, got {size!r}")

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_fields(cls, fields: Fields) -> TensorSpec:
        shape = fields.raw("shape")
        if not isinstance(shape, list):
            raise fields.wrong("shape", "a list", shape)
        try:
            spec = cls(
                fields.text("name"), tuple(shape), fields.text("dtype"), fields.text("layout"), fields.text("values")
            )
        except ValueError as error:
            raise fields.wrong("shape", "one size for each letter of the layout", str(error)) from error
        fields.finish()
        return spec


@dataclass(frozen=True)
class Normalisation:
    """(pixel - ``mean``) / ``std``, one figure a channel; pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def of(self, clips: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(..., C, H, W) of pixels -> the same, normalised."""
        mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (self.mean, self.std))
        normalised: npt.NDArray[np.float32] = (clips - mean) / std
        return normalised


@dataclass(frozen=True)
class Preprocessing:
    """How a video becomes a clip.

    ``frames`` frames, ``stride`` frames of the video apart; the short side resized to ``resize_short_side`` pixels
    (None: not resized) with the filter ``resample``; a centre crop of ``crop`` (height, width) pixels; values in
    [0, 1], minus ``mean``, over ``std``, one figure a channel.
    """

    frames: int
    stride: int
    resize_short_side: int | None
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: str = "bilinear"

    @classmethod
    def of_timesformer(cls, *, frames: int, height: int, width: int, channels: int) -> Preprocessing:
        """TimeSformer's own, for a model's clip of ``frames`` frames of ``height`` x ``width`` pixels.

        The clip spans about SPAN frames of the video (8 -> 32 apart, 16 -> 16), and the short side becomes the crop's
        longer side: every video then covers the crop.
        """
        return cls(
            frames=frames,
            stride=max(1, SPAN // frames),
            resize_short_side=max(height, width),
            crop=(height, width),
            mean=(MEAN,) * channels,
            std=(STD,) * channels,
        )

    @property
    def normalisation(self) -> Normalisation:
        return Normalisation(self.mean, self.std)

    def of_pixels(self) -> Preprocessing:
        """The same, but for a graph that normalises by itself: pixels stay in [0, 1]."""
        return replace(self, mean=(0.0,) * len(self.mean), std=(1.0,) * len(self.std))

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "crop": list(self.crop), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_fields(cls, fields: Fields) -> Preprocessing:
        crop = fields.wholes("crop", 1)
        if len(crop) != 2:
            raise fields.wrong("crop", "[height, width]", list(crop))
        mean, std = fields.numbers("mean"), fields.numbers("std")
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise fields.wrong("std", f"{len(mean)} numbers above 0, one for each mean", list(std))
        value = cls(
            frames=fields.whole("frames", 1),
            stride=fields.whole("stride", 1),
            resize_short_side=fields.optional_whole("resize_short_side", 1),
            crop=(crop[0], crop[1]),
            mean=mean,
            std=std,
            resample=fields.text("resample"),
        )
        fields.finish()
        return value


@dataclass(frozen=True)
class Island:
    """Nodes that stay in FP32 in a half-precision graph: where (a scope or pattern), why, and how many."""

    scope: str
    reason: str
    nodes: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields) -> Island:
        value = cls(fields.text("scope"), fields.text("reason"), fields.whole("nodes", 0))
        fields.finish()
        return value


@dataclass(frozen=True)
class TapSpec:
    """A named value inside the graph that parity compares.

    ``tokens``: "all" that the model's own value holds or, with "class", that the graph computes only the class token of
    it: the reference is then sliced to ``[:, :1]`` by name, never trimmed to fit.
    """

    name: str
    tokens: str = "all"

    def __post_init__(self) -> None:
        if self.tokens not in TOKENS:
            raise ValueError(f"tap {self.name!r}: tokens is one of {', '.join(TOKENS)}, got {self.tokens!r}")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields) -> TapSpec:
        value = cls(fields.text("name"), fields.choice("tokens", TOKENS))
        fields.finish()
        return value


@dataclass(frozen=True)
class FileEntry:
    """SHA-256 (hexadecimal) and size of one file."""

    sha256: str
    size_bytes: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields) -> FileEntry:
        value = cls(_sha256(fields, "sha256"), fields.whole("size_bytes", 0))
        fields.finish()
        return value


@dataclass(frozen=True, kw_only=True)
class EngineEntry:
    """A compiled engine in the bundle.

    ``file`` and ``sidecar`` are paths in the bundle (``engines/rtx-rtx-fp16.engine`` and ``.json``); ``builder`` is
    "rtx" or "tensorrt"; ``target`` a name of the target table; ``compute_capabilities`` as in ("8.6", "8.9");
    ``sha256`` that of the engine file.
    """

    file: str
    sidecar: str
    builder: str
    target: str
    precision: str
    compute_capabilities: tuple[str, ...]
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "compute_capabilities": list(self.compute_capabilities)}

    @classmethod
    def from_fields(cls, fields: Fields) -> EngineEntry:
        value = cls(
            file=fields.text("file"),
            sidecar=fields.text("sidecar"),
            builder=fields.text("builder"),
            target=fields.text("target"),
            precision=fields.text("precision"),
            compute_capabilities=fields.texts("compute_capabilities"),
            sha256=_sha256(fields, "sha256"),
        )
        fields.finish()
        return value
