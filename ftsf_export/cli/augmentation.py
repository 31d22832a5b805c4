"""The options of ``ftsf finetune`` that say how its clips vary."""

from __future__ import annotations

from typing import Any

import click

from ftsf_export.cli.options import stacked
from ftsf_export.errors import ConfigError
from ftsf_export.video.augmentation import Augmentation

_DEFAULT = Augmentation()

augmentation_options = stacked(
    click.option(
        "--temporal-offset/--no-temporal-offset",
        default=_DEFAULT.temporal_offset,
        show_default=True,
        help="Take each clip from anywhere in the video, or from its middle.",
    ),
    click.option(
        "--scale-jitter",
        default=":".join(f"{bound:.4g}" for bound in _DEFAULT.scale_jitter),
        show_default=True,
        metavar="LOW:HIGH",
        help="Short side of a frame, in sizes of the crop; 1:1: as it is judged.",
    ),
    click.option(
        "--random-crop/--no-random-crop",
        default=_DEFAULT.random_crop,
        show_default=True,
        help="Crop anywhere in the frame, or at its centre.",
    ),
    click.option("--flip", is_flag=True, help="Mirror half of the clips; wrong where left and right are classes."),
    click.option(
        "--color-jitter",
        type=float,
        default=_DEFAULT.color_jitter,
        show_default=True,
        help="Change brightness, contrast and saturation by up to this share.",
    ),
)


def augmentation_of(options: dict[str, Any]) -> Augmentation:
    """What was asked for. Raises ConfigError."""
    text = options["scale_jitter"]
    try:
        low, high = (float(bound) for bound in text.split(":"))
    except ValueError as error:
        raise ConfigError([f"scale_jitter: expected LOW:HIGH, two numbers, got {text!r}"]) from error
    same = ("temporal_offset", "random_crop", "flip", "color_jitter")
    return Augmentation(scale_jitter=(low, high), **{name: options[name] for name in same})
