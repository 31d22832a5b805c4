"""What goes into the graph: its type, the order of its dimensions, and what the graph does to it before the model does.

Letters: B clips, F frames, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle.specs import FLOAT32, FRAMES_OF_PIXELS, UINT8, Normalisation, Preprocessing, TensorSpec
from ftsf_export.config import ExportConfig
from ftsf_export.network.scope import CLIP

if TYPE_CHECKING:
    import numpy.typing as npt

# Of the clips that the model itself takes.
MODEL_LAYOUT = "BFCHW"


@dataclass(frozen=True, kw_only=True)
class GraphInput:
    """The form in which the graph takes clips. The default is the model's own: float32 (B, F, C, H, W), normalised."""

    dtype: str = FLOAT32  #: "float32", or "uint8" for whole grey levels from 0 to 255.
    layout: str = MODEL_LAYOUT  #: One letter a dimension.
    #: What the graph does with its numbers, in their own unit; None: they come normalised.
    normalisation: Normalisation | None = None

    @classmethod
    def asked(cls, config: ExportConfig, own: Preprocessing) -> GraphInput:
        """What ``config`` asks for. ``own``: how a video becomes a clip of the model itself."""
        if config.input == UINT8:
            grey = Normalisation(tuple(255 * m for m in own.mean), tuple(255 * s for s in own.std))
            return cls(dtype=UINT8, layout=_layout(config, f"B{FRAMES_OF_PIXELS}"), normalisation=grey)
        taken = own.normalisation if config.pixels else None
        return cls(layout=_layout(config, MODEL_LAYOUT), normalisation=taken)

    def prepared(self, own: Preprocessing) -> Preprocessing:
        """``own`` for this graph: what it normalises by itself is left to it."""
        how = replace(own, layout=self.layout.removeprefix("B"))
        if self.normalisation is None:
            return how
        return replace(how, dtype=self.dtype, mean=(0.0,) * len(own.mean), std=(1.0,) * len(own.std))

    def shape(self, batch: int | str | None, model: TimeSformerConfig) -> tuple[Any, ...]:
        """Sizes of the input with ``batch`` in the place of the clips."""
        sizes = {"B": batch, "F": model.frames, "C": model.channels, "H": model.height, "W": model.width}
        return tuple(sizes[letter] for letter in self.layout)

    def spec(self, batch: int | str, model: TimeSformerConfig, how: Preprocessing) -> TensorSpec:
        """The graph's input as the manifest has it."""
        colours = how.color_order if model.channels == 3 else f"{model.channels} channels"
        values = {
            (UINT8, False): f"{colours} in 0..255",
            (FLOAT32, False): f"{colours} in 0..1",
            (FLOAT32, True): f"{colours} in 0..1, minus mean, over std",
        }[self.dtype, self.normalisation is None]
        return TensorSpec(CLIP, self.shape(batch, model), self.dtype, self.layout, values)

    def of_model(self, clips: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Clips in this form -> (B, F, C, H, W), normalised: as the model itself takes them."""
        import numpy as np

        clips = clips.transpose([self.layout.index(letter) for letter in MODEL_LAYOUT])
        if clips.dtype == np.uint8:
            clips = clips.astype(np.float32)
        return np.ascontiguousarray(clips if self.normalisation is None else self.normalisation.of(clips))


def _layout(config: ExportConfig, usual: str) -> str:
    return usual if config.layout is None else config.layout.upper()


USUAL_INPUT = GraphInput()
