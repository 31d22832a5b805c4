"""Training a ``FastTimeSformer``: from scratch, from pretrained weights, or from a teacher. PyTorch alone.

What it trains on is a map-style ``torch.utils.data.Dataset`` of (x_FCHW float32, class); ``VideoClips``
reads them from files by a function that it is given, ``MotionClips`` needs no files.
"""

from fast_timesformer.finetune.loss import distillation_loss, hidden_loss
from fast_timesformer.finetune.motion import Motion, MotionClips
from fast_timesformer.finetune.settings import Distillation, SettingsError, TrainingSettings, best_device
from fast_timesformer.finetune.state import StateError
from fast_timesformer.finetune.trainer import Epoch, Trainer, TrainingDiverged, accuracy
from fast_timesformer.finetune.videos import VideoClips

__all__ = [
    "Distillation",
    "Epoch",
    "Motion",
    "MotionClips",
    "SettingsError",
    "StateError",
    "Trainer",
    "TrainingDiverged",
    "TrainingSettings",
    "VideoClips",
    "accuracy",
    "best_device",
    "distillation_loss",
    "hidden_loss",
]
