"""What is known of a checkpoint, and of the model that is made of it, before a tensor is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import CheckpointWeights, Preprocessing
from ftsf_export.checkpoint.names import Origin, Shape
from ftsf_export.checkpoint.tensors import TensorFile
from ftsf_export.errors import UsageError

HUGGING_FACE, OURS = "Hugging Face", "FastTimeSformer"
_SHOWN = 3
# What a configuration may ask for at most. Somebody else's file must not decide how much memory this process takes.
MOST = {
    "frames": 4096, "channels": 64, "height": 8192, "width": 8192, "num_classes": 1_000_000, "dim": 16384,
    "patch_size": 1024, "depth": 512, "num_heads": 1024, "dim_head": 4096, "hidden_dim": 2**20, "num_features": 65536,
}  # fmt: skip
# PIL.Image.Resampling, by number.
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """One checkpoint on this machine, understood but not read."""

    kind: str  #: For people: "Hugging Face", "facebookresearch/TimeSformer", "FastTimeSformer".
    name: str  #: For people, without a path of the machine.
    tensors: TensorFile  #: Where the numbers lie.
    model: TimeSformerConfig  #: The architecture as it was trained.
    origins: dict[str, Origin]  #: Name of each of the model's tensors -> where it lies in the file.
    #: How frames became its input in training; TimeSformer's own where the file does not say.
    preprocessing: Preprocessing
    #: Name of the data set that the file says it was trained on; "" where it does not; None where its preprocessing
    #: leaves nothing to ask.
    dataset: str | None = None
    #: Fields of the model that neither the file nor the user said and that no shape tells.
    assumed: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()  #: What in the file is not used, on purpose.
    labels: tuple[str, ...] | None = None  #: Names of the classes in the order of the logits, where the file has them.
    revision: str = ""  #: The hub's commit that it is.
    warnings: tuple[str, ...] = ()  #: What a user has to know.
    mend: str = ""  #: What helps where its tensors do not fit, as the end of a sentence.


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that fits what was asked."""

    found: Found  #: The checkpoint as it is; ``found.model`` is the architecture as it was trained.
    #: The architecture of the model to be made of it: another mechanism, frames or size where they were asked.
    model: TimeSformerConfig
    sha256: str  #: Of the file of weights.
    labels: tuple[str, ...] | None  #: Names of the classes in the order of the logits; None when unknown.
    preprocessing: Preprocessing  #: How a video becomes the model's input, for the model's frames and size.
    #: Tensors of the model that the checkpoint does not have and that are drawn from the seed.
    fresh: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()  #: What the checkpoint has beside, and is left alone on purpose.
    warnings: tuple[str, ...] = ()  #: What a user has to know.

    @property
    def from_huggingface(self) -> bool:
        """Whether Hugging Face's own model can read the file."""
        return self.found.kind == HUGGING_FACE

    @property
    def ours(self) -> bool:
        """Whether this project wrote the file."""
        return self.found.kind == OURS

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
            assumed=tuple(said_field(self.found.model, name) for name in self.found.assumed),
            warnings=self.warnings,
        )


def said_field(model: TimeSformerConfig, name: str) -> str:
    """A field of ``model`` as people read it: "heads 3 of width 64", "norm_eps 1e-06"."""
    return f"heads {model.num_heads} of width {model.dim_head}" if name == "heads" else f"{name} {getattr(model, name)}"


def mlp_fields(hidden: int, dim: int) -> dict[str, Any]:
    """The fields of an architecture whose MLP is ``hidden`` wide."""
    return {"mlp_dim": hidden} if hidden % dim else {"mlp_mult": hidden // dim}


def check_bounds(config: TimeSformerConfig, path: Path) -> None:
    """Raises UsageError where the configuration in ``path`` asks for more than ``MOST``."""
    values = {name: getattr(config, name) for name in MOST}
    problems = [f"{name}: at most {MOST[name]}, got {value}" for name, value in values.items() if value > MOST[name]]
    if problems:
        raise UsageError(f"checkpoint: {path}: {'; '.join(problems)}")


def check_fit(found: Found) -> None:
    """Every tensor of a checkpoint has a place in the model it was trained as, and that model has no other.

    Raises UsageError with the first names that are missing, too many or misshapen; its details have all.
    """
    needed = {origin.name: origin.shape for origin in found.origins.values()}
    there = found.tensors.shapes
    problems = [f"missing {name} {_text(shape)}" for name, shape in needed.items() if name not in there]
    problems += [f"unknown {name} {_text(there[name])}" for name in sorted(set(there) - set(needed))]
    problems += [
        f"{name}: expected shape {_text(shape)}, got {_text(there[name])}"
        for name, shape in needed.items()
        if name in there and there[name] != shape
    ]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        said = f"{len(problems)} tensors do not fit the model: {'; '.join(problems[:_SHOWN])}{more}{found.mend}"
        raise UsageError(f"checkpoint: {found.tensors.path}: {said}", details="\n".join(problems))


def _text(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"
