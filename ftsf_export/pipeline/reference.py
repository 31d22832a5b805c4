"""The reference that an export is held against: eager PyTorch in FP32, or Hugging Face's own model where there is one.

Letters: n clips, F frames, C channels, H height, W width, S sampled values of one tap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from ftsf_export.bundle import FavorLengths, GraphInput, PlainHalf, TapSpec
from ftsf_export.bundle.golden import Contrast, sample_tap
from ftsf_export.config import BatchRange
from ftsf_export.errors import UsageError
from ftsf_export.network.gates import PARITY_HUGGINGFACE, PARITY_ORIGINAL, Gate
from ftsf_export.parity.between_clips import contrast_of
from ftsf_export.parity.compare import outputs_of
from ftsf_export.parity.distances import bad_values, relative_errors
from ftsf_export.parity.judge import Limits
from ftsf_export.parity.second_opinion import judge_second_opinion
from ftsf_export.pipeline.clips import JudgedClips
from ftsf_export.pipeline.held_out import HeldOut
from ftsf_export.pipeline.other_types import in_float64, plain_half
from ftsf_export.precision import FP32, Precision
from ftsf_export.verdict import Subject, Verdict

if TYPE_CHECKING:
    from fast_timesformer.model import FastTimeSformer
    from ftsf_export.checkpoint import Checkpoint

_OURS = "eager FastTimeSformer"


@dataclass(frozen=True)
class Reference:
    """What a graph's outputs are held against."""

    outputs: dict[str, Any]  #: Name of each output of the graph -> (n, ...) float32.
    taps: dict[str, Any]  #: Name -> (n, S) float32, the modules' outputs at their sampled positions.
    held_out: Any = None  #: Logits of the held-out clips; None where there are none.
    whom: str = _OURS  #: Whose outputs these are.
    contrast: Contrast | None = None  #: How far apart the answers to clips of different content are.
    #: Output -> relative L2 distance of these values from the model in float64, on one clip.
    noise: Mapping[str, float] = field(default_factory=dict)
    plain_half: PlainHalf | None = None  #: The model wholly in the half type that was asked for; None for FP32.
    favor: FavorLengths | None = None  #: How long FAVOR+'s queries are; None of drawn weights and of other attentions.


@dataclass(frozen=True)
class Opinion:
    """What a model that is not ours makes of the clips."""

    gate: Gate  #: Whose question it answers.
    outputs: dict[str, Any] | None = None  #: As in ``Reference``; None where it could not be asked.
    whom: str = ""  #: The model, with the version of its library.
    reason: str = ""  #: Why it could not be asked; "" where it was.

    def as_reference(self, eager: Reference) -> Reference:
        """``eager`` with these outputs in the place of its own, where there are any."""
        return replace(eager, whom=self.whom or eager.whom, outputs=self.outputs or eager.outputs)

    def verdict(self, eager: Reference, subject: Subject) -> Verdict:
        """The judgement of our eager outputs against these. ``subject``: the graph that goes by this reference."""
        limits = Limits.for_precision(FP32).beside(eager.noise)
        return judge_second_opinion(self.gate, self.outputs, eager.outputs, subject, limits, reason=self.reason)


def run_eager(
    module: FastTimeSformer,
    taps: tuple[TapSpec, ...],
    clips: JudgedClips,
    takes: GraphInput,
    outputs: tuple[str, ...],
    precision: Precision,
    *,
    untrained: str = "",
) -> Reference:
    """One clip at a time, sampled at once: a tap of one clip is megabytes, and there is one a module.

    ``precision`` was asked for. ``untrained``: why the class scores mean nothing yet, where that is known of the
    weights' origin.
    """
    from fast_timesformer.initial import as_drawn
    from ftsf_export.runners.eager import EagerRunner

    runner = EagerRunner(module, taps=taps, outputs=outputs, takes=takes)
    each = []
    for index in range(len(clips.values)):
        found = outputs_of(runner, clips.values[index : index + 1])
        each.append({name: value if name in outputs else sample_tap(value) for name, value in found.items()})
    stacked = {name: np.concatenate([values[name] for values in each]) for name in each[0]}
    _check_finite(_OURS, stacked, clips.sources)
    given = {name: stacked.pop(name) for name in outputs}
    if not untrained and as_drawn(module):
        untrained = "the weights are as they were drawn"
    answer = outputs[0]
    alone = EagerRunner(module, outputs=(answer,), takes=takes)
    others = [outputs_of(alone, other.make()[None])[answer] for other in clips.others]
    # The clip that has structure: a video, or noise in squares.
    clip, own = clips.values[1:2], {name: values[1:2] for name, values in (given | stacked).items()}
    wide = in_float64(module, taps, clip, takes, outputs)
    return Reference(
        given,
        stacked,
        contrast=contrast_of(np.concatenate([given[answer], *others]), untrained, (wide[answer], own[answer])),
        noise=relative_errors(wide, own),
        plain_half=plain_half(module, precision, clip, takes, own[answer], answer) if precision.is_half else None,
    )


def eager_logits(module: FastTimeSformer, held_out: HeldOut, takes: GraphInput) -> Any:
    """(n, classes) of eager PyTorch on the held-out clips."""
    from ftsf_export.runners.eager import EagerRunner

    return held_out.logits_of(EagerRunner(module, takes=takes), batch=BatchRange(1, 8, 8))


def second_opinion(
    checkpoint: Checkpoint, clips: JudgedClips, takes: GraphInput, outputs: tuple[str, ...]
) -> Opinion | None:
    """Hugging Face's own outputs of a checkpoint of theirs; None of another that says all of its network.

    ``takes``: the form of the clips.
    """
    from ftsf_export.checkpoint import huggingface_logits

    if assumed := ", ".join(checkpoint.weights.assumed):
        reason = f"{assumed}: assumed, and no other program says what this file gives; every gate here shares it"
        return Opinion(PARITY_ORIGINAL, whom=f"{_OURS}, which assumes {assumed}", reason=reason)
    if not checkpoint.from_huggingface:
        return None
    if reason := huggingface_logits.lacking(checkpoint):
        return Opinion(PARITY_HUGGINGFACE, reason=reason)
    whom = f"transformers {metadata.version('transformers')}, {huggingface_logits.class_of(checkpoint)}"
    theirs = huggingface_logits.huggingface_outputs(checkpoint, takes.of_model(clips.values), outputs)
    _check_finite(whom, theirs, clips.sources)
    return Opinion(PARITY_HUGGINGFACE, theirs, whom=whom)


def _check_finite(whom: str, values: Mapping[str, Any], sources: tuple[str, ...]) -> None:
    """Raises UsageError for NaN or infinity: a reference with such proves nothing."""
    for name, each in values.items():
        if (bad := bad_values(each)) is not None:
            count, index = bad
            raise UsageError(
                f"{whom}: {name}: {count} of {each.size} values are NaN or infinite, the first for the clip "
                f"{sources[index[0]]!r}; no graph can be held against it: are the weights whole, and within FP32?"
            )
