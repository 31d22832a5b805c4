"""How to train: frozen values, checked where they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fast_timesformer.config import NOT_NEGATIVE, POSITIVE, choice, number, whole, wrong_fields

PRECISIONS = ("fp32", "bf16", "fp16")
_SHARE = number("0 to 1", lambda value: 0 <= value <= 1)
_RULES = {
    **dict.fromkeys(("epochs", "batch"), whole(1)),
    **dict.fromkeys(("seed", "redraw_every", "save_every", "workers"), whole(0)),
    **dict.fromkeys(("rate", "clip_norm"), POSITIVE),
    **dict.fromkeys(("weight_decay", "favor_weight"), NOT_NEGATIVE),
    "warmup": number("a share of all steps, 0 to 1", lambda value: 0 <= value < 1),
    "precision": choice(*PRECISIONS),
}


def _raise(problems: list[tuple[str, str]]) -> None:
    """Raises ValueError with every problem, where there is any."""
    if problems:
        raise ValueError("; ".join(f"{name}: {said}" for name, said in problems))


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Learning from a teacher's logits: loss = (1 - weight) cross-entropy + weight T^2 KL + hidden_weight hidden.

    Raises ValueError naming every wrong field when made.

    Attributes:
        temperature: T, which softens the scores of both.
        weight: the teacher's share in the loss, 0 to 1.
        hidden_weight: weight of the difference between the streams after each block (``hidden_loss``); 0: none.
    """

    temperature: float = 2.0
    weight: float = 0.5
    hidden_weight: float = 0.0

    def __post_init__(self) -> None:
        rules = {"temperature": POSITIVE, "weight": _SHARE, "hidden_weight": NOT_NEGATIVE}
        _raise([(f"distillation {name}", said) for name, said in wrong_fields(self, rules)])


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """One training. Raises ValueError naming every wrong field when made.

    Attributes:
        epochs: how often each clip is seen.
        batch: clips in one step.
        rate: the highest learning rate of AdamW; it falls as a cosine.
        warmup: the share of all steps, 0 to 1, over which the learning rate rises.
        weight_decay: of matrices; biases, norms and tokens have none.
        clip_norm: the gradient's greatest L2 norm.
        precision: fp32, bf16 (autocast) or fp16 (autocast and a scaled loss; on a GPU only).
        device: "cpu", "cuda" or "cuda:1".
        seed: of the order of the clips, and of dropout, stochastic depth and redrawn projections.
        redraw_every: steps after which FAVOR+ draws its projections anew (0: never). Not in the last quarter of the
            training: the weights have to settle on the projection that is saved with them.
        favor_weight: of what the queries and keys of FAVOR+ are too long by (``favor_loss``); 0: let them grow.
        flip: mirrors half of the clips left to right. Wrong where left and right are classes.
        save_every: steps between checkpoints (0: at the end of each epoch alone).
        workers: processes that prepare clips; 0: this one.
        distillation: how a teacher's answers count; None where there is no teacher.
    """

    epochs: int = 10
    batch: int = 16
    rate: float = 5e-4
    warmup: float = 0.1
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    precision: str = "bf16"
    device: str = "cpu"
    seed: int = 0
    redraw_every: int = 1000
    favor_weight: float = 0.1
    flip: bool = False
    save_every: int = 0
    workers: int = 0
    distillation: Distillation | None = None

    def __post_init__(self) -> None:
        problems = wrong_fields(self, _RULES)
        if self.precision == "fp16" and self.device.split(":")[0] == "cpu":
            problems.append(("precision", "fp16 trains on a GPU alone; take bf16 or fp32 on the CPU"))
        _raise(problems)

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
    return "cuda" if torch.cuda.is_available() else "cpu"
