"""Where the weights of a bundle come from."""

from __future__ import annotations

from dataclasses import dataclass

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.strict_json import Count, Sha256

UNTRAINED_SCORES = "the class scores mean nothing until the model is trained on"


def swap_described(model: TimeSformerConfig, trained: TimeSformerConfig) -> str:
    """What stands in ``model`` where the ``trained`` one had another attention mechanism."""
    return f"{model.attn_mechanism} attention in the place of {trained.attn_mechanism}"


@dataclass(frozen=True)
class RandomWeights:
    """Weights that were drawn, and mean nothing."""

    seed: Count  #: What they were drawn from.

    def described(self, _model: TimeSformerConfig) -> str:
        return f"random, seed {self.seed}"


@dataclass(frozen=True)
class GivenWeights:
    """Weights of a model that a Python program handed to ``export``."""

    def described(self, _model: TimeSformerConfig) -> str:
        return "given by the caller"


@dataclass(frozen=True, kw_only=True)
class CheckpointWeights:
    """Weights that were read from a checkpoint."""

    kind: str  #: Who writes such files, for people ("Hugging Face").
    name: str  #: Of the checkpoint, without a path of the machine.
    revision: str  #: The hub's commit; "" for a file or a directory.
    file: str  #: Name of the file that holds the weights.
    sha256: Sha256  #: Of that file.
    trained: TimeSformerConfig  #: The architecture that the weights were trained in.
    fresh: tuple[str, ...] = ()  #: Tensors of the model that the checkpoint lacks and that were drawn from the seed.
    unused: tuple[str, ...] = ()  #: What the checkpoint has beside, left alone on purpose.
    #: What of ``trained`` nobody said and no tensor's shape tells ("heads 3 of width 64"): the reference shares it.
    assumed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()  #: What a user has to know.

    def need_fine_tuning_in(self, model: TimeSformerConfig) -> bool:
        """Whether ``model`` has another attention mechanism than the one that was trained."""
        return model.attn_mechanism != self.trained.attn_mechanism

    def described(self, model: TimeSformerConfig) -> str:
        at = f" at {self.revision[:12]}" if self.revision else ""
        text = f"checkpoint {self.name}{at} ({self.kind}), {self.file} sha256 {self.sha256[:16]}"
        if self.need_fine_tuning_in(model):
            text += f"; NOT FINE-TUNED: {swap_described(model, self.trained)}, so {UNTRAINED_SCORES}"
        if self.assumed:
            text += f"; ASSUMED, since the file does not say: {', '.join(self.assumed)}"
        return text


Weights = RandomWeights | GivenWeights | CheckpointWeights
