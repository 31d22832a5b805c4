"""The reference of a Hugging Face checkpoint: their own model's logits.

Letters: n clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ftsf_export.bundle import Normalisation
from ftsf_export.pipeline.clips import JudgedClips

if TYPE_CHECKING:
    from ftsf_export.checkpoint import Checkpoint


@dataclass(frozen=True)
class Opinion:
    """What Hugging Face's model makes of the clips.

    Attributes:
        logits: (n, classes); None where it could not be asked.
        whom: the model, with the version of its library.
        reason: why it could not be asked; "" where it was.
    """

    logits: Any
    whom: str = ""
    reason: str = ""


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
