"""What of a training's clips varies, as values: ``augment`` does it. Loads nothing, for the help of a command."""

from __future__ import annotations

from dataclasses import dataclass

from ftsf_export.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What varies. Raises ConfigError naming every wrong field when made."""

    temporal_offset: bool = True  #: The clip is taken from anywhere in the video, not from its middle.
    #: The short side is resized to between these multiples of the crop's longer side (256 to 320 pixels for a crop of
    #: 224); (1, 1): to the side that is judged.
    scale_jitter: tuple[float, float] = (8 / 7, 10 / 7)
    random_crop: bool = True  #: The crop is anywhere in the frame, not at its centre.
    flip: bool = False  #: Mirrors half of the clips left to right. Wrong where left and right are classes.
    #: Brightness, contrast and saturation change by up to this share, one way for the whole clip; 0: not at all.
    color_jitter: float = 0.0

    def __post_init__(self) -> None:
        problems = []
        low, high = self.scale_jitter
        if not 1 <= low <= high <= 8:
            problems.append(f"scale_jitter: expected LOW:HIGH with 1 <= LOW <= HIGH <= 8, got {low:g}:{high:g}")
        if not 0 <= self.color_jitter < 1:
            problems.append(f"color_jitter: expected a share from 0 to less than 1, got {self.color_jitter}")
        if problems:
            raise ConfigError(problems)

    @property
    def varies(self) -> bool:
        """Whether a clip differs from epoch to epoch at all."""
        return self != NOTHING_VARIES


NOTHING_VARIES = Augmentation(temporal_offset=False, scale_jitter=(1.0, 1.0), random_crop=False)
