"""What else the eager model tells: how exact FP32 is, what plain half makes of it, how far FAVOR+ is from softmax.

Letters: n clips, F frames, C channels, H height, W width, L classes, S sampled values of one tap.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from ftsf_export.bundle import FavorLengths, GraphInput, PlainHalf, TapSpec
from ftsf_export.bundle.golden import sample_tap
from ftsf_export.parity.compare import outputs_of
from ftsf_export.parity.distances import distance
from ftsf_export.precision import Precision

if TYPE_CHECKING:
    from fast_timesformer.model import FastTimeSformer


def in_float64(
    module: FastTimeSformer,
    taps: tuple[TapSpec, ...],
    clip_1FCHW: Any,
    takes: GraphInput,
    outputs: tuple[str, ...],
) -> dict[str, Any]:
    """The ``outputs`` (1, ...) and taps (1, S) of a copy of the model in float64."""
    from ftsf_export.runners.eager import EagerRunner

    runner = EagerRunner(module, taps=taps, outputs=outputs, dtype="float64", takes=takes)
    found = outputs_of(runner, clip_1FCHW)
    return {name: value if name in outputs else sample_tap(value) for name, value in found.items()}


def plain_half(
    module: FastTimeSformer,
    precision: Precision,
    clip_1FCHW: Any,
    takes: GraphInput,
    own_1L: Any,
    answer: str,
) -> PlainHalf:
    """What the whole model in ``precision`` makes of one clip, beside ``own_1L``, its output ``answer`` in FP32."""
    from ftsf_export.runners.eager import EagerRunner

    runner = EagerRunner(module, outputs=(answer,), dtype=precision.element, takes=takes)
    found = outputs_of(runner, clip_1FCHW)[answer]
    bad = int((~np.isfinite(found)).sum())
    rel_l2 = float("nan") if bad else distance(answer, own_1L, found).rel_l2.value
    return PlainHalf(precision.name, rel_l2, bad, found.size)


def favor_lengths(module: FastTimeSformer, clip_1FCHW: Any, takes: GraphInput) -> FavorLengths | None:
    """How long the queries of FAVOR+ are on one clip in the graph's form; None where no attention estimates softmax."""
    from fast_timesformer.favor_error import favor_errors

    clip = next(module.parameters()).new_tensor(takes.of_model(clip_1FCHW))
    found = favor_errors(module, [clip])
    if not found:
        return None
    worst = max(found, key=lambda each: each.error)
    return FavorLengths(
        width=module.config.dim_head,
        median_query=median(each.median_query for each in found),
        largest_query=max(each.largest_query for each in found),
        error=worst.error,
        attention=worst.name,
    )
