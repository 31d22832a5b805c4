"""What a checkpoint's own processor makes of frames: transformers' Pillow processor of TimeSformer's checkpoints.

Its code comes from the installed ``transformers`` and its settings from the checkpoint's file, which is read as JSON:
of the checkpoint's directory nothing runs.

Letters: F frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.checkpoint.found import Checkpoint
from ftsf_export.checkpoint.huggingface import processor_file
from ftsf_export.checkpoint.settings import Settings
from ftsf_export.errors import install_command

_OURS = "VideoMAE"


def lacking(checkpoint: Checkpoint) -> str:
    """Why there is no processor to ask, in one sentence; "" where there is one."""
    if not checkpoint.from_huggingface:
        return (
            f"a file of {checkpoint.found.kind} brings no processor that could be asked; what its code does with "
            "frames stands in this project's tests, as equations"
        )
    if (path := processor_file(checkpoint.found.tensors.path.parent)) is None:
        return "the checkpoint has no file of a processor"
    if find_spec("transformers") is None:
        return f"transformers: not installed; install it with: {install_command('hub')}"
    settings = Settings.of_file(path)
    names = [str(name) for key in ("image_processor_type", "feature_extractor_type") if (name := settings.raw(key))]
    if strangers := [name for name in names if not name.startswith(_OURS)]:
        return f"its processor is {strangers[0]!r}; only {_OURS}'s, which TimeSformer's checkpoints have, is asked"
    how = checkpoint.preprocessing
    if len(how.mean) != 3:
        return f"frames have 3 channels, the model takes {len(how.mean)}"
    try:
        size = _processor(checkpoint).crop_size
        height, width = size["height"], size["width"]
    except Exception as error:  # whatever transformers raises for settings that it does not know
        return f"transformers does not take the processor's settings: {' '.join(str(error).split())[:200]}"
    if (height, width) != (how.box or how.crop):
        return f"its processor crops to {height}x{width}, the model takes {how.crop[0]}x{how.crop[1]}"
    return ""


def their_clip(checkpoint: Checkpoint, frames: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[Any]:
    """RGB frames (height, width, 3) -> (F, C, H, W), of which the model sees this part."""
    found: npt.NDArray[Any] = np.asarray(_processor(checkpoint)(list(frames), return_tensors="np")["pixel_values"][0])
    height, width = checkpoint.preprocessing.crop
    return found[..., :height, :width]


def _processor(checkpoint: Checkpoint) -> Any:
    from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

    return VideoMAEImageProcessorPil.from_json_file(str(processor_file(checkpoint.found.tensors.path.parent)))
