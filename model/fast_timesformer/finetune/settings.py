"""How to train: frozen values, checked where they are made. Importing this module imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fast_timesformer.rules import NOT_NEGATIVE, POSITIVE, choice, number, whole, wrong_fields

if TYPE_CHECKING:
    import torch

# Name -> PyTorch's name of the type that autocast computes products in; None: without autocast, in the weights' own.
PRECISIONS = {"fp32": None, "bf16": "bfloat16", "fp16": "float16"}
# How many directions the synthetic data set may have.
DIRECTION_COUNTS = (4, 8)
_SHARE = number("0 to 1", lambda value: 0 <= value <= 1)
_RULES = {
    **dict.fromkeys(("epochs", "batch", "accumulate"), whole(1)),
    **dict.fromkeys(("seed", "redraw_every", "save_every", "workers"), whole(0)),
    **dict.fromkeys(("rate", "clip_norm"), POSITIVE),
    **dict.fromkeys(("weight_decay", "favor_weight", "favor_limit"), NOT_NEGATIVE),
    "warmup": number("a share of all steps, 0 to 1", lambda value: 0 <= value < 1),
    "precision": choice(*PRECISIONS),
}


class SettingsError(ValueError):
    """Wrong settings of a training or of its videos: ``problems`` has a sentence for each wrong field."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(f"{name}: {said}" for name, said in problems)
        super().__init__("; ".join(self.problems))


def _raise(problems: list[tuple[str, str]]) -> None:
    if problems:
        raise SettingsError(problems)


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Learning from a teacher's logits: loss = (1 - weight) cross-entropy + weight T^2 KL + hidden_weight hidden.

    Raises SettingsError naming every wrong field when made.
    """

    temperature: float = 2.0  #: T, which softens the scores of both.
    weight: float = 0.5  #: The teacher's share in the loss, 0 to 1.
    #: Weight of the difference between the streams after each block (``hidden_loss``); 0: none.
    hidden_weight: float = 0.0

    def __post_init__(self) -> None:
        rules = {"temperature": POSITIVE, "weight": _SHARE, "hidden_weight": NOT_NEGATIVE}
        _raise([(f"distillation {name}", said) for name, said in wrong_fields(self, rules)])


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """One training. Raises SettingsError naming every wrong field when made."""

    epochs: int = 10  #: How often each clip is seen.
    batch: int = 16  #: Clips in one step, of all processes together.
    #: Parts of a process's clips that go through the model one after another before a step: less memory, the same step.
    accumulate: int = 1
    rate: float = 5e-4  #: The highest learning rate of AdamW; it falls as a cosine.
    warmup: float = 0.1  #: The share of all steps, 0 to 1, over which the learning rate rises.
    weight_decay: float = 0.05  #: Of matrices; biases, norms and tokens have none.
    clip_norm: float = 1.0  #: The gradient's greatest L2 norm.
    precision: str = "bf16"  #: A name of PRECISIONS; fp16 on a GPU only.
    device: str = "cpu"  #: "cpu", "cuda" or "cuda:1".
    seed: int = 0  #: Of the order of the clips, and of dropout, stochastic depth and redrawn projections.
    #: Steps after which FAVOR+ draws its projections anew (0: never). Not in the last quarter of the training: the
    #: weights have to settle on the projection that is saved with them.
    redraw_every: int = 1000
    #: Of what the queries and keys of FAVOR+ are too long by (``favor_loss``); 0: let them grow.
    favor_weight: float = 0.1
    #: |x'|^2 = |x|^2 / sqrt K up to which a query or key of FAVOR+ costs nothing. 4: scores up to 4, attention as sharp
    #: as e^8, and features well above their floor. Lower brings FAVOR+ closer to softmax, and its attention flatter.
    favor_limit: float = 4.0
    save_every: int = 0  #: Steps between checkpoints (0: at the end of each epoch alone).
    workers: int = 0  #: Processes that prepare clips; 0: this one.
    distillation: Distillation | None = None  #: How a teacher's answers count; None where there is no teacher.

    def __post_init__(self) -> None:
        problems = wrong_fields(self, _RULES)
        if self.scales_loss and self.device.split(":")[0] == "cpu":
            problems.append(("precision", "fp16 trains on a GPU alone; take bf16 or fp32 on the CPU"))
        _raise(problems)

    @property
    def autocast(self) -> torch.dtype | None:
        """The type that products are computed in; None: that of the weights."""
        import torch

        name = PRECISIONS.get(self.precision)
        return None if name is None else getattr(torch, name)

    @property
    def scales_loss(self) -> bool:
        """Whether the loss is scaled, so that small gradients are not lost in a type of few exponents."""
        return self.precision == "fp16"

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of step 0 .. ``steps`` - 1: a line up to ``rate``, then half a cosine down towards 0."""
        warm = max(1, round(self.warmup * steps))
        if step < warm:
            return self.rate * (step + 1) / warm
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    def redraws_at(self, step: int, steps: int) -> bool:
        """Whether FAVOR+ draws its projections anew before this step."""
        return self.redraw_every > 0 and 0 < step < 0.75 * steps and step % self.redraw_every == 0


def best_device() -> str:
    """The first GPU where there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
