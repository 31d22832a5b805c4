"""The order in which a training sees its clips: a function of seed and epoch alone, so that it can go on anywhere.

Letters: B clips, F frames, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Examples = Dataset[tuple[Tensor, int]]
_EPOCHS_APART = 1_000_003


def size_of(examples: Examples) -> int:
    """Number of clips. Raises ValueError for none."""
    count = len(examples)  # type: ignore[arg-type]
    if not count:
        raise ValueError("expected at least one clip to train or judge on, got none")
    return count


def batches_an_epoch(examples: Examples, batch: int) -> int:
    return math.ceil(size_of(examples) / batch)


def batches_of(examples: Examples, batches: Iterable[list[int]], *, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Clips (B, F, C, H, W) and classes (B,) of each of ``batches``, which are places in ``examples``."""
    loader = DataLoader(
        examples,
        batch_sampler=batches,
        num_workers=workers,
        # Its own numbers: a loader would take one from the global generator whenever it is made, and a training that
        # goes on in the middle of an epoch would no longer draw what the uninterrupted one drew.
        generator=torch.Generator(),
    )
    yield from loader


def cut(places: Sequence[int], size: int) -> list[list[int]]:
    """Pieces of ``size``; the last may be shorter."""
    return [list(places[start : start + size]) for start in range(0, len(places), size)]


def parts(places: Sequence[int], count: int) -> list[list[int]]:
    """At most ``count`` pieces of nearly one size, none of them empty; none of nothing."""
    return cut(places, max(1, math.ceil(len(places) / count)))


def shuffled(count: int, *, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * _EPOCHS_APART + epoch)
    return list(torch.randperm(count, generator=generator).tolist())
