"""The tensors that an architecture has, without making them."""

from __future__ import annotations

import torch

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.model import FastTimeSformer
from ftsf_export.checkpoint.names import Shape


def shapes_of(config: TimeSformerConfig) -> dict[str, Shape]:
    """Name -> shape of every weight and saved buffer."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        model = FastTimeSformer.from_config(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
