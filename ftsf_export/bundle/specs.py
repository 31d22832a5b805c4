"""The parts of a manifest: tensors, preprocessing, the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fast_timesformer.config import PIXEL_MEAN, PIXEL_STD, TimeSformerConfig
from fast_timesformer.rules import POSITIVE, choice
from ftsf_export.bundle.eager_findings import FavorLengths, PlainHalf
from ftsf_export.config import CALIBRATIONS
from ftsf_export.network.scope import ALONGS
from ftsf_export.precision import PrecisionName
from ftsf_export.strict_json import Count, Positive

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

UNCALIBRATED = "no calibration data: ranges are those of noise and of judged clips, so accuracy in 8 bits means nothing"
# How many tokens of a tap are compared.
TOKENS = choice("all", "class")
BATCH = "batch"
# The rewrite that leaves only the class token of the last block to compute: costs are counted by it.
CLASS_TAIL = "class-tail"
# Frames of the video that one clip spans: TimeSformer takes 8 frames 32 apart, or 16 frames 16 apart (Bertasius et
# al. 2021, section 4.3), which is about ten seconds, a Kinetics video, at 25 frames a second. TimeSformer-L alone takes
# 96 frames 4 apart.
SPAN = 256
_LONG_FRAMES, _LONG_STRIDE = 96, 4
# Which frames of a video make a clip; see ``video/sample.py``.
STRIDE, SEGMENTS, SPREAD, UNIFORM = "stride", "segments", "spread", "uniform"
# The rate that facebookresearch/TimeSformer counts a clip's length in (``DATA.TARGET_FPS``), in frames a second.
TARGET_FPS = 30
RGB, BGR = "RGB", "BGR"
# Whose arithmetic resizes and crops; see ``video/preprocess.py``.
PILLOW, TORCH, OPENCV = "pillow", "torch", "opencv"
# Element types of the graph's input, and orders of a clip's dimensions: frame by frame, channel by channel, or as
# decoders give frames.
FLOAT32, UINT8 = "float32", "uint8"
FRAMES_OF_CHANNELS, CHANNELS_OF_FRAMES, FRAMES_OF_PIXELS = "FCHW", "CFHW", "FHWC"
# Of the statistics of pixels in [0, 1]. A pixel that they normalise is at most 50,500 from 0: still a number in FP16,
# which ends at 65,504.
MEAN_BOUNDS, STD_BOUNDS = (-100.0, 100.0), (0.002, 1000.0)


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of the graph."""

    name: str  #: The tensor's name in the graph.
    shape: tuple[int | str, ...]  #: A size for each dimension, and "batch" for the dynamic one.
    dtype: str  #: The element type by its NumPy name.
    layout: str  #: One letter a dimension ("BFCHW").
    values: str  #: What the numbers are ("RGB, normalised by mean and std", "unnormalised class scores").

    def __post_init__(self) -> None:
        if len(self.layout) != len(self.shape):
            raise ValueError(f"shape: {self.shape}: expected one size for each letter of the layout {self.layout!r}")
        for size in self.shape:
            if size != BATCH and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
                raise ValueError(f"shape: a size is a whole number of at least 1 or {BATCH!r}, got {size!r}")


@dataclass(frozen=True)
class Normalisation:
    """(pixel - mean) / std, for pixels in [0, 1]."""

    mean: tuple[float, ...]  #: One figure a channel.
    std: tuple[float, ...]  #: One figure a channel.

    def after(self, subtracted: float) -> Normalisation:
        """The same of numbers from which so much was subtracted."""
        return Normalisation(tuple(mean - subtracted for mean in self.mean), self.std)

    def of(self, clips: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(..., C, H, W) of pixels -> the same, normalised."""
        import numpy as np

        mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (self.mean, self.std))
        normalised: npt.NDArray[np.float32] = (clips - mean) / std
        return normalised


@dataclass(frozen=True)
class Preprocessing:
    """How a video becomes a clip: frames are sampled, resized, cropped at the centre, scaled to [0, 1], normalised.

    Of a clip in uint8 the last two are the graph's own.
    """

    frames: Positive  #: How many frames a clip has.
    #: How many frames of the video lie between one frame of the clip and the next; of no meaning with "segments" and
    #: "uniform".
    stride: Positive
    resize_short_side: Positive | None  #: Pixels of the short side after resizing; None: frames are not resized.
    crop: tuple[Positive, Positive]  #: Height and width in pixels.
    mean: tuple[float, ...]  #: Subtracted from a pixel in [0, 1], one figure a channel.
    std: tuple[Annotated[float, POSITIVE], ...]  #: Divides what is left, one figure a channel.
    resample: str = "bilinear"  #: The filter of Pillow that resizes; the other resizers have this one alone.
    #: "stride": frames ``stride`` apart from the middle of the video; "segments": one frame from the middle of each of
    #: ``frames`` equal parts of the video; "spread": evenly over ``frames * stride`` thirtieths of a second from the
    #: start; "uniform": the middle of each of ``frames`` equal parts of the video, rounded down.
    sampling: Annotated[str, choice(STRIDE, SEGMENTS, SPREAD, UNIFORM)] = STRIDE
    #: Height and width of a box at the centre, of which the crop is the upper left part; None: it is the crop itself.
    box: tuple[Positive, Positive] | None = None
    color_order: Annotated[str, choice(RGB, BGR)] = RGB  #: Order of the channels of the clip.
    #: Whose arithmetic resizes and crops: "pillow" (antialiased, as Hugging Face), "torch" or "opencv" (neither is;
    #: as facebookresearch/TimeSformer and as mmaction2).
    resizer: Annotated[str, choice(PILLOW, TORCH, OPENCV)] = PILLOW
    #: Of the clip's numbers; "uint8": grey levels from 0 to 255, rounded to whole ones, neither scaled nor normalised.
    dtype: Annotated[str, choice(FLOAT32, UINT8)] = FLOAT32
    #: Of one clip, a letter a dimension: frames, channels, height, width.
    layout: Annotated[str, choice(FRAMES_OF_CHANNELS, CHANNELS_OF_FRAMES, FRAMES_OF_PIXELS)] = FRAMES_OF_CHANNELS

    def __post_init__(self) -> None:
        if self.box is not None and min(self.box[0] - self.crop[0], self.box[1] - self.crop[1]) < 0:
            raise ValueError(f"box: expected at least the crop {list(self.crop)}, got {list(self.box)}")
        if self.resizer != PILLOW and self.resample != "bilinear":
            raise ValueError(f"resample: {self.resizer} resizes bilinearly alone, got {self.resample!r}")
        if len(self.mean) != len(self.std):
            raise ValueError(f"std: expected {len(self.mean)} numbers, one for each mean, got {len(self.std)}")
        if self.dtype == UINT8 and (any(self.mean) or set(self.std) != {1}):
            raise ValueError("mean: uint8 is not normalised: expected a mean of 0 and a std of 1")
        for name, (least, most) in {"mean": MEAN_BOUNDS, "std": STD_BOUNDS}.items():
            if wild := [value for value in getattr(self, name) if not least <= value <= most]:
                raise ValueError(
                    f"{name}: expected numbers from {least:g} to {most:g} for pixels in 0..1, got {wild[0]:g}"
                )

    @classmethod
    def of_timesformer(cls, model: TimeSformerConfig) -> Preprocessing:
        """TimeSformer's own, for the clips of ``model``.

        The clip spans about SPAN frames of the video (8 -> 32 apart, 16 -> 16), and the short side becomes the crop's
        longer side: every video then covers the crop.
        """
        return cls(
            frames=model.frames,
            stride=_LONG_STRIDE if model.frames == _LONG_FRAMES else max(1, SPAN // model.frames),
            resize_short_side=max(model.height, model.width),
            crop=(model.height, model.width),
            mean=(PIXEL_MEAN,) * model.channels,
            std=(PIXEL_STD,) * model.channels,
        )

    @property
    def sampled(self) -> str:
        """Which frames of a video make a clip, in words."""
        if self.sampling in (SEGMENTS, UNIFORM):
            return f"{self.frames} frames, one from the middle of each of {self.frames} equal parts of the video"
        if self.sampling == SPREAD:
            return f"{self.frames} frames, evenly over {self.clip_s(TARGET_FPS):.3g} s from the start"
        return f"{self.frames} frames, {self.stride} apart"

    def clip_s(self, fps: float) -> float | None:
        """Seconds of a video of ``fps`` frames a second that a clip stands for; None where it is the whole video."""
        rate = TARGET_FPS if self.sampling == SPREAD else fps
        return None if self.sampling in (SEGMENTS, UNIFORM) else self.frames * self.stride / rate

    @property
    def normalisation(self) -> Normalisation:
        return Normalisation(self.mean, self.std)

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """Sizes of one clip."""
        sizes = {"F": self.frames, "C": len(self.mean), "H": self.crop[0], "W": self.crop[1]}
        return tuple(sizes[letter] for letter in self.layout)

    def axis(self, letter: str) -> int:
        """Which dimension of a clip it is."""
        return self.layout.index(letter)

    def clip_of(self, levels_FCHW: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Grey levels from 0 to 255, whole or not, channels in the order of the model -> the clip, contiguous."""
        import numpy as np

        if self.dtype == UINT8:
            # Pixels that are whole already are not touched.
            whole = levels_FCHW.dtype == np.uint8
            values = levels_FCHW if whole else np.rint(levels_FCHW).astype(np.uint8)
        else:
            values = self.normalisation.of(levels_FCHW.astype(np.float32) / np.float32(255))
        return np.ascontiguousarray(values.transpose([FRAMES_OF_CHANNELS.index(letter) for letter in self.layout]))

    def levels_of(self, clip: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The inverse of ``clip_of``: a clip -> grey levels (F, C, H, W), in float32 where the clip is."""
        import numpy as np

        levels_FCHW = clip.transpose([self.axis(letter) for letter in FRAMES_OF_CHANNELS])
        if self.dtype == UINT8:
            return levels_FCHW
        mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (self.mean, self.std))
        levels: npt.NDArray[Any] = (levels_FCHW * std + mean) * np.float32(255)
        return levels


@dataclass(frozen=True)
class Island:
    """Nodes that stay in FP32 in a half-precision graph."""

    scope: str  #: The modules that they belong to ("blocks.*.temporal.attn.core.softmax").
    reason: str  #: Why half precision does not do there.
    nodes: Count  #: How many there are.


@dataclass(frozen=True)
class TapSpec:
    """A named value inside the graph that parity compares."""

    name: str  #: The module whose result it is.
    #: "all" that the model's own value holds or, with "class", that the graph computes only the class token of it: the
    #: reference is then sliced to ``[:, :1]`` by name, never trimmed to fit.
    tokens: Annotated[str, TOKENS] = "all"

    def __post_init__(self) -> None:
        if not TOKENS.holds(self.tokens):
            raise ValueError(f"tokens: tap {self.name!r}: expected {TOKENS.expected}, got {self.tokens!r}")


@dataclass(frozen=True)
class AppliedRewrite:
    """An exact rewrite in the graph."""

    name: str  #: Its name, as ``--no-rewrite`` takes it.
    summary: str  #: What it does, in one sentence.
    #: Operations of one clip's products that it saves beside all the other rewrites; 0 where it spares copies and
    #: kernels alone.
    saved_flops: int


@dataclass(frozen=True)
class PluginNodes:
    """Which attentions are nodes that TensorRT plugins compute."""

    along: tuple[Annotated[str, choice(*ALONGS)], ...] = ()  #: "time", "space" or both; empty for none.
    reason: str = "none asked for"  #: Why these.


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What the ranges of a graph of 8 bits were observed on."""

    method: Annotated[str, choice(*CALIBRATIONS)]  #: How a range was chosen from what was seen.
    clips: Positive  #: How many.
    videos: tuple[str, ...]  #: Names of the files of ``--calibration-data``; empty: noise, and the judged videos.

    @property
    def doubt(self) -> str:
        """Why the accuracy of the graph means nothing; "" where it may mean something."""
        return "" if self.videos else UNCALIBRATED


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """Which products of a graph are in 8 bits."""

    beside: PrecisionName  #: What all else is in.
    products: Positive  #: How many products with a weight are in 8 bits.
    #: Products in ``beside``, by their nodes: attention, the patch embedding, the head.
    wide: tuple[str, ...]
    evened: Mapping[str, Count]  #: Exact rewrite that evens out channels -> how often it was done.
    calibration: Calibration  #: What the ranges were observed on.


@dataclass(frozen=True, kw_only=True)
class GraphRecord:
    """What ``model.onnx`` is."""

    opset: Positive  #: Of the standard domain.
    nodes: Count  #: How many nodes it has.
    parameters: Count  #: How many numbers its constants hold.
    eager_flops: Count  #: Operations of one clip's products in eager PyTorch, two a multiplication and addition.
    graph_flops: Count  #: The same in the graph.
    rewrites: tuple[AppliedRewrite, ...] = ()  #: The exact rewrites in it, by name.
    plugins: PluginNodes = PluginNodes()  #: Which attentions are nodes for plugins.
    islands: tuple[Island, ...] = ()  #: What stays in FP32 in a half-precision graph.
    taps: tuple[TapSpec, ...] = ()  #: The values inside that parity compares, in the network's order.
    plain_half: PlainHalf | None = None  #: Of a half-precision graph: the eager model wholly in that type.
    quantization: Quantization | None = None  #: Of a graph of 8 bits; None of any other.
    favor: FavorLengths | None = None  #: Of FAVOR+ attentions whose weights were not drawn.

    @property
    def islands_by_reason(self) -> dict[str, tuple[Island, ...]]:
        """The islands that share a reason, by that reason."""
        return {
            why: tuple(one for one in self.islands if one.reason == why) for why in [one.reason for one in self.islands]
        }

    @property
    def rewrites_by_saving(self) -> tuple[tuple[AppliedRewrite, ...], tuple[AppliedRewrite, ...]]:
        """The rewrites that save products, and those that spare copies and kernels alone."""
        saving = tuple(rewrite for rewrite in self.rewrites if rewrite.saved_flops)
        return saving, tuple(rewrite for rewrite in self.rewrites if not rewrite.saved_flops)

    def has_rewrite(self, name: str) -> bool:
        return any(rewrite.name == name for rewrite in self.rewrites)
