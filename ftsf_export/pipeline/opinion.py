"""The reference of a Hugging Face checkpoint: their own model's logits, and a verdict on ours against them.

Letters: n clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ftsf_export.bundle import Normalisation
from ftsf_export.network.gates import PARITY_HUGGINGFACE
from ftsf_export.network.scope import LOGITS
from ftsf_export.parity.judge import Limits, Pair, judge
from ftsf_export.pipeline.clips import JudgedClips
from ftsf_export.precision import FP32
from ftsf_export.verdict import Subject, Verdict

if TYPE_CHECKING:
    from ftsf_export.checkpoint import Checkpoint


@dataclass(frozen=True)
class Opinion:
    """``logits`` (n, classes) of Hugging Face's model, by ``whom``; or None, and the reason why there are none."""

    logits: Any
    whom: str = ""
    reason: str = ""

    def verdict(self, ours: Any, subject: Subject) -> Verdict:
        """Ours against theirs, both eager in FP32. ``subject``: the graph that is held against this reference."""
        if self.logits is None:
            return PARITY_HUGGINGFACE.not_run(subject, self.reason)
        limits = Limits.for_precision(FP32)
        return judge({LOGITS: Pair(self.logits, ours)}, gate=PARITY_HUGGINGFACE, subject=subject, limits=limits)


def second_opinion(
    checkpoint: Checkpoint | None, clips: JudgedClips, normalisation: Normalisation | None = None
) -> Opinion | None:
    """None where the weights are not Hugging Face's. ``normalisation``: of clips that are pixels."""
    if checkpoint is None or not checkpoint.from_huggingface:
        return None
    from ftsf_export.checkpoint import huggingface_logits

    if reason := huggingface_logits.lacking(checkpoint):
        return Opinion(None, reason=reason)
    whom = f"transformers {metadata.version('transformers')}, TimesformerForVideoClassification"
    values = clips.values if normalisation is None else normalisation.of(clips.values)
    return Opinion(huggingface_logits.huggingface_logits(checkpoint, values), whom=whom)
