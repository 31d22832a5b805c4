"""The parts of a manifest: tensors, preprocessing, the graph, where the weights come from, files and engines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from fast_timesformer.config import PIXEL_MEAN, PIXEL_STD, TimeSformerConfig
from ftsf_export.network.scope import ALONGS
from ftsf_export.strict_json import Count, Positive, Rule, Sha256, one_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TOKENS = ("all", "class")
BATCH = "batch"
# Frames of the video that one clip spans: TimeSformer takes 8 frames 32 apart, or 16 frames 16 apart (Bertasius et
# al. 2021, section 4.3), which is about ten seconds, a Kinetics video, at 25 frames a second.
SPAN = 256
_ABOVE_ZERO = Rule("a number above 0", lambda value: value > 0, {"exclusiveMinimum": 0})


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of the graph.

    Attributes:
        name: the tensor's name in the graph.
        shape: a size for each dimension, and "batch" for the dynamic one.
        dtype: the element type by its NumPy name.
        layout: one letter a dimension ("BFCHW").
        values: what the numbers are ("RGB, normalised by mean and std", "unnormalised class scores").
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    layout: str
    values: str

    def __post_init__(self) -> None:
        if len(self.layout) != len(self.shape):
            raise ValueError(f"shape: {self.shape}: expected one size for each letter of the layout {self.layout!r}")
        for size in self.shape:
            if size != BATCH and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
                raise ValueError(f"shape: a size is a whole number of at least 1 or {BATCH!r}, got {size!r}")


@dataclass(frozen=True)
class Normalisation:
    """(pixel - mean) / std, for pixels in [0, 1].

    Attributes:
        mean: one figure a channel.
        std: one figure a channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def of(self, clips: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(..., C, H, W) of pixels -> the same, normalised."""
        import numpy as np

        mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (self.mean, self.std))
        normalised: npt.NDArray[np.float32] = (clips - mean) / std
        return normalised


@dataclass(frozen=True)
class Preprocessing:
    """How a video becomes a clip: frames are sampled, resized, cropped at the centre, scaled to [0, 1], normalised.

    Attributes:
        frames: how many frames a clip has.
        stride: how many frames of the video lie between one frame of the clip and the next.
        resize_short_side: pixels of the short side after resizing; None: frames are not resized.
        crop: height and width in pixels.
        mean: subtracted from a pixel in [0, 1], one figure a channel.
        std: divides what is left, one figure a channel.
        resample: the filter of Pillow that resizes.
    """

    frames: Positive
    stride: Positive
    resize_short_side: Positive | None
    crop: tuple[Positive, Positive]
    mean: tuple[float, ...]
    std: tuple[Annotated[float, _ABOVE_ZERO], ...]
    resample: str = "bilinear"

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ValueError(f"std: expected {len(self.mean)} numbers, one for each mean, got {len(self.std)}")

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
            mean=(PIXEL_MEAN,) * channels,
            std=(PIXEL_STD,) * channels,
        )

    @property
    def normalisation(self) -> Normalisation:
        return Normalisation(self.mean, self.std)

    def of_pixels(self) -> Preprocessing:
        """The same, but for a graph that normalises by itself: pixels stay in [0, 1]."""
        return replace(self, mean=(0.0,) * len(self.mean), std=(1.0,) * len(self.std))


@dataclass(frozen=True)
class Island:
    """Nodes that stay in FP32 in a half-precision graph.

    Attributes:
        scope: the modules that they belong to ("blocks.*.temporal.attn.core.softmax").
        reason: why half precision does not do there.
        nodes: how many there are.
    """

    scope: str
    reason: str
    nodes: Count


@dataclass(frozen=True)
class TapSpec:
    """A named value inside the graph that parity compares.

    Attributes:
        name: the module whose result it is.
        tokens: "all" that the model's own value holds or, with "class", that the graph computes only the class token
            of it: the reference is then sliced to ``[:, :1]`` by name, never trimmed to fit.
    """

    name: str
    tokens: Annotated[str, one_of(*TOKENS)] = "all"

    def __post_init__(self) -> None:
        if self.tokens not in TOKENS:
            raise ValueError(f"tokens: tap {self.name!r}: expected one of {', '.join(TOKENS)}, got {self.tokens!r}")


@dataclass(frozen=True)
class AppliedRewrite:
    """An exact rewrite in the graph.

    Attributes:
        name: its name, as ``--no-rewrite`` takes it.
        summary: what it does, in one sentence.
        saved_flops: operations of one clip's products that it saves beside all the other rewrites; 0 where it spares
            copies and kernels alone.
    """

    name: str
    summary: str
    saved_flops: int


@dataclass(frozen=True)
class PluginNodes:
    """Which attentions are nodes that TensorRT plugins compute.

    Attributes:
        along: "time", "space" or both; empty for none.
        reason: why these.
    """

    along: tuple[Annotated[str, one_of(*ALONGS)], ...] = ()
    reason: str = "none asked for"


@dataclass(frozen=True, kw_only=True)
class GraphRecord:
    """What ``model.onnx`` is.

    Attributes:
        opset: of the standard domain.
        nodes: how many nodes it has.
        parameters: how many numbers its constants hold.
        eager_flops: operations of one clip's products in eager PyTorch, two a multiplication and addition.
        graph_flops: the same in the graph.
        rewrites: the exact rewrites in it, by name.
        plugins: which attentions are nodes for plugins.
        islands: what stays in FP32 in a half-precision graph.
        taps: the values inside that parity compares, in the network's order.
    """

    opset: Positive
    nodes: Count
    parameters: Count
    eager_flops: Count
    graph_flops: Count
    rewrites: tuple[AppliedRewrite, ...] = ()
    plugins: PluginNodes = PluginNodes()
    islands: tuple[Island, ...] = ()
    taps: tuple[TapSpec, ...] = ()

    @property
    def islands_by_reason(self) -> dict[str, tuple[Island, ...]]:
        """The islands that share a reason, by that reason."""
        return {
            why: tuple(one for one in self.islands if one.reason == why) for why in [one.reason for one in self.islands]
        }

    def has_rewrite(self, name: str) -> bool:
        return any(rewrite.name == name for rewrite in self.rewrites)


@dataclass(frozen=True)
class RandomWeights:
    """Weights that were drawn, and mean nothing.

    Attributes:
        seed: what they were drawn from.
    """

    seed: Count

    def described(self, _model: TimeSformerConfig) -> str:
        return f"random, seed {self.seed}"


@dataclass(frozen=True)
class GivenWeights:
    """Weights of a model that a Python program handed to ``export``."""

    def described(self, _model: TimeSformerConfig) -> str:
        return "given by the caller"


@dataclass(frozen=True, kw_only=True)
class CheckpointWeights:
    """Weights that were read from a checkpoint.

    Attributes:
        kind: who writes such files, for people ("Hugging Face").
        name: of the checkpoint, without a path of the machine.
        revision: the hub's commit; "" for a file or a directory.
        file: name of the file that holds the weights.
        sha256: of that file.
        trained: the architecture that the weights were trained in.
        fresh: tensors of the model that the checkpoint lacks and that were drawn from the seed.
        unused: what the checkpoint has beside, left alone on purpose.
        warnings: what a user has to know.
    """

    kind: str
    name: str
    revision: str
    file: str
    sha256: Sha256
    trained: TimeSformerConfig
    fresh: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def need_fine_tuning_in(self, model: TimeSformerConfig) -> bool:
        """Whether ``model`` has another attention mechanism than the one that was trained."""
        return model.attn_mechanism != self.trained.attn_mechanism

    def described(self, model: TimeSformerConfig) -> str:
        at = f" at {self.revision[:12]}" if self.revision else ""
        text = f"checkpoint {self.name}{at} ({self.kind}), {self.file} sha256 {self.sha256[:16]}"
        if self.need_fine_tuning_in(model):
            text += (
                f"; NOT FINE-TUNED: {model.attn_mechanism} attention in the place of {self.trained.attn_mechanism}, "
                "so the class scores mean nothing until the model is trained on"
            )
        return text


Weights = RandomWeights | GivenWeights | CheckpointWeights
