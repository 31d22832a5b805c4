"""Training a ``FastTimeSformer``: from scratch, from pretrained weights, or from a teacher. PyTorch alone.

What it trains on is a map-style ``torch.utils.data.Dataset`` of (x_FCHW float32, class); ``VideoClips``
reads them from files by a function that it is given, ``MotionClips`` needs no files. The settings of a training load
without torch; the other names load it when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fast_timesformer.finetune.settings import Distillation, SettingsError, TrainingSettings, best_device
from fast_timesformer.lazy import lazy_names

if TYPE_CHECKING:
    from fast_timesformer.finetune.loss import distillation_loss, hidden_loss
    from fast_timesformer.finetune.motion import Motion, MotionClips
    from fast_timesformer.finetune.state import StateError
    from fast_timesformer.finetune.together import Together
    from fast_timesformer.finetune.trainer import Epoch, Trainer, TrainingDiverged, accuracy
    from fast_timesformer.finetune.videos import VideoClips

__all__ = [
    "Distillation",
    "Epoch",
    "Motion",
    "MotionClips",
    "SettingsError",
    "StateError",
    "Together",
    "Trainer",
    "TrainingDiverged",
    "TrainingSettings",
    "VideoClips",
    "accuracy",
    "best_device",
    "distillation_loss",
    "hidden_loss",
]

_HOME = {
    **dict.fromkeys(("distillation_loss", "hidden_loss"), "fast_timesformer.finetune.loss"),
    **dict.fromkeys(("Motion", "MotionClips"), "fast_timesformer.finetune.motion"),
    **dict.fromkeys(("Epoch", "Trainer", "TrainingDiverged", "accuracy"), "fast_timesformer.finetune.trainer"),
    "StateError": "fast_timesformer.finetune.state",
    "Together": "fast_timesformer.finetune.together",
    "VideoClips": "fast_timesformer.finetune.videos",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME, __all__)
