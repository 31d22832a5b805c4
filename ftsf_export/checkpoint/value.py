"""What is known of a checkpoint, and of the model that is made of it, before a tensor is read."""

from __future__ import annotations

from dataclasses import dataclass

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import CheckpointWeights, Preprocessing
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
    def from_huggingface(self) -> bool:
        """Whether Hugging Face's own model can read the file."""
        return self.found.kind == huggingface.KIND

    @property
    def weights(self) -> CheckpointWeights:
        """Where the weights come from, as the manifest keeps it: without a path of the machine."""
        return CheckpointWeights(
            kind=self.found.kind,
            name=self.found.name,
            revision=self.found.revision,
            file=self.found.tensors.path.name,
            sha256=self.sha256,
            trained=self.found.model,
            fresh=self.fresh,
            unused=self.unused,
            warnings=self.warnings,
        )
