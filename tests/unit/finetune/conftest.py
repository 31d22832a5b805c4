"""One tiny model for all of these tests, and clips that cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from fast_timesformer.finetune import Motion, MotionClips, TrainingSettings
from fast_timesformer.model import FastTimeSformer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def clips() -> MotionClips:
    return MotionClips(Motion(frames=2, size=16), 12, seed=0)


@pytest.fixture
def make_model() -> Callable[..., FastTimeSformer]:
    def make(attn: str = "regular", seed: int = 0, classes: int = 4, **fields: int) -> FastTimeSformer:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sizes = {"dim": 16, "patch_size": 8, "depth": 2, "dim_head": 8, **fields}
            # Dropout on: what goes on must draw the numbers that the uninterrupted training drew.
            return FastTimeSformer(2, 3, 16, 16, classes, attn_mechanism=attn, proj_dropout=0.1, drop_path=0.2, **sizes)

    return make


@pytest.fixture
def settings() -> Callable[..., TrainingSettings]:
    def make(**changes: object) -> TrainingSettings:
        values = {"epochs": 3, "batch": 5, "rate": 3e-3, "precision": "fp32", "redraw_every": 2, **changes}
        return TrainingSettings(**values)  # type: ignore[arg-type]

    return make
