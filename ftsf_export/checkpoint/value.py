"""What is known of a checkpoint, and of the model that is made of it, before a tensor is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import Preprocessing
from ftsf_export.checkpoint import huggingface
from ftsf_export.checkpoint.found import Found


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that fits what was asked.

    Attributes:
        found: the checkpoint as it is; ``found.model`` is the architecture as it was trained.
        model: the architecture of the model to be made of it: another mechanism, frames or size where they were asked.
        sha256: of the file of weights.
        labels: names of the classes in the order of the logits; None when unknown.
        preprocessing: how a video becomes the model's input, for the model's frames and size.
        fresh: tensors of the model that the checkpoint does not have and that are drawn from the seed.
        unused: what the checkpoint has beside, and is left alone on purpose.
        warnings: what a user has to know.
    """

    found: Found
    model: TimeSformerConfig
    sha256: str
    labels: tuple[str, ...] | None
    preprocessing: Preprocessing
    fresh: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def swapped(self) -> bool:
        """Whether the attention mechanism is another than the weights were trained with."""
        return self.model.attn_mechanism != self.found.model.attn_mechanism

    @property
    def from_huggingface(self) -> bool:
        """Whether Hugging Face's own model can read the file."""
        return self.found.kind == huggingface.KIND

    @property
    def weights(self) -> str:
        """Where the weights come from, as the manifest says it."""
        found = self.found
        at = f" at {found.revision[:12]}" if found.revision else ""
        text = f"checkpoint {found.name}{at} ({found.kind}), {found.tensors.path.name} sha256 {self.sha256[:16]}"
        if self.swapped:
            text += (
                f"; NOT FINE-TUNED: {self.model.attn_mechanism} attention in the place of "
                f"{found.model.attn_mechanism}, so the class scores mean nothing until the model is trained on"
            )
        return text

    def as_dict(self) -> Mapping[str, Any]:
        """JSON form, without a path of the machine."""
        found = self.found
        return {
            "kind": found.kind,
            "name": found.name,
            "revision": found.revision,
            "weights_file": found.tensors.path.name,
            "weights_sha256": self.sha256,
            "trained": found.model.as_dict(),
            "needs_fine_tuning": self.swapped,
            "fresh": list(self.fresh),
            "unused": list(self.unused),
            "warnings": list(self.warnings),
        }
