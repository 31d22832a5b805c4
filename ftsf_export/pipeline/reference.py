"""The reference that an export is held against: eager PyTorch in FP32, or Hugging Face's own model where there is one.

Letters: n clips, F frames, C channels, H height, W width, S sampled values of one tap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from ftsf_export.bundle import Normalisation, TapSpec
from ftsf_export.bundle.golden import Contrast, sample_tap
from ftsf_export.config import BatchRange
from ftsf_export.network.gates import PARITY_HUGGINGFACE, PARITY_ORIGINAL, Gate
from ftsf_export.network.scope import LOGITS
from ftsf_export.parity.compare import outputs_of
from ftsf_export.parity.distances import clip_spread
from ftsf_export.parity.second_opinion import judge_second_opinion
from ftsf_export.pipeline.clips import JudgedClips
from ftsf_export.pipeline.held_out import HeldOut
from ftsf_export.verdict import Subject, Verdict

if TYPE_CHECKING:
    from fast_timesformer.model import FastTimeSformer
    from ftsf_export.checkpoint import Checkpoint

_OURS = "eager FastTimeSformer"


@dataclass(frozen=True)
class Reference:
    """What a graph's outputs are held against."""

    logits: Any  #: (n, classes) float32.
    taps: dict[str, Any]  #: Name -> (n, S) float32, the modules' outputs at their sampled positions.
    held_out: Any = None  #: Logits of the held-out clips; None where there are none.
    whom: str = _OURS  #: Whose logits these are.
    contrast: Contrast | None = None  #: How far apart the answers to clips of different content are.


@dataclass(frozen=True)
class Opinion:
    """What a model that is not ours makes of the clips."""

    gate: Gate  #: Whose question it answers.
    logits: Any = None  #: (n, classes); None where it could not be asked.
    whom: str = ""  #: The model, with the version of its library.
    reason: str = ""  #: Why it could not be asked; "" where it was.

    def as_reference(self, eager: Reference) -> Reference:
        """``eager`` with these logits in the place of its own, where there are any."""
        return replace(eager, whom=self.whom or eager.whom, **({} if self.logits is None else {"logits": self.logits}))

    def verdict(self, eager: Reference, subject: Subject) -> Verdict:
        """The judgement of our eager logits against these. ``subject``: the graph that goes by this reference."""
        return judge_second_opinion(self.gate, self.logits, eager.logits, subject, reason=self.reason)


def run_eager(
    module: FastTimeSformer,
    taps: tuple[TapSpec, ...],
    clips: JudgedClips,
    normalisation: Normalisation | None,
    *,
    untrained: str = "",
) -> Reference:
    """One clip at a time, sampled at once: a tap of one clip is megabytes, and there is one a module.

    ``untrained``: why the class scores mean nothing yet, where that is known of the weights' origin.
    """
    from fast_timesformer.initial import as_drawn
    from ftsf_export.runners.eager import EagerRunner

    runner = EagerRunner(module, taps=taps, normalisation=normalisation)
    each = []
    for index in range(len(clips.values)):
        outputs = outputs_of(runner, clips.values[index : index + 1])
        each.append({name: value if name == LOGITS else sample_tap(value) for name, value in outputs.items()})
    stacked = {name: np.concatenate([outputs[name] for outputs in each]) for name in each[0]}
    logits = stacked.pop(LOGITS)
    if not untrained and as_drawn(module):
        untrained = "the weights are as they were drawn"
    alone = EagerRunner(module, normalisation=normalisation)
    others = [outputs_of(alone, other.make()[None])[LOGITS] for other in clips.others]
    return Reference(logits, stacked, contrast=contrast_of(np.concatenate([logits, *others]), untrained))


def contrast_of(logits_nL: Any, untrained: str) -> Contrast | None:
    """What is kept of the answers to all n clips; None where one of them is not a number, which is judged elsewhere."""
    if not np.isfinite(logits_nL).all():
        return None
    return Contrast(
        spread=clip_spread(logits_nL).astype(np.float32),
        clips=len(logits_nL),
        best_classes=len(set(logits_nL.argmax(axis=1).tolist())),
        untrained=untrained,
    )


def eager_logits(module: FastTimeSformer, held_out: HeldOut, normalisation: Normalisation | None) -> Any:
    """(n, classes) of eager PyTorch on the held-out clips."""
    from ftsf_export.runners.eager import EagerRunner

    return held_out.logits_of(EagerRunner(module, normalisation=normalisation), batch=BatchRange(1, 8, 8))


def second_opinion(checkpoint: Checkpoint, clips: JudgedClips, normalisation: Normalisation | None) -> Opinion | None:
    """Hugging Face's own logits of a checkpoint of theirs; None of another that says all of its network.

    ``normalisation``: of clips that are pixels.
    """
    from ftsf_export.checkpoint import huggingface_logits

    if assumed := ", ".join(checkpoint.weights.assumed):
        reason = f"{assumed}: assumed, and no other program says what this file gives; every gate here shares it"
        return Opinion(PARITY_ORIGINAL, whom=f"{_OURS}, which assumes {assumed}", reason=reason)
    if not checkpoint.from_huggingface:
        return None
    if reason := huggingface_logits.lacking(checkpoint):
        return Opinion(PARITY_HUGGINGFACE, reason=reason)
    whom = f"transformers {metadata.version('transformers')}, TimesformerForVideoClassification"
    values = clips.values if normalisation is None else normalisation.of(clips.values)
    return Opinion(PARITY_HUGGINGFACE, huggingface_logits.huggingface_logits(checkpoint, values), whom=whom)
