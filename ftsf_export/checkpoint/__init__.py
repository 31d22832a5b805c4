"""Pretrained weights, ours and other people's -> a ``FastTimeSformer``. Nothing in a checkpoint ever runs."""

from ftsf_export.checkpoint.found import Checkpoint
from ftsf_export.checkpoint.load import describe_checkpoint, load_checkpoint, model_from_checkpoint
from ftsf_export.checkpoint.take_out import take_out

__all__ = ["Checkpoint", "describe_checkpoint", "load_checkpoint", "model_from_checkpoint", "take_out"]
