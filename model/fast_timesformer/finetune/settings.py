"""How to train: frozen values, checked where they are made."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

PRECISIONS = ("fp32", "bf16", "fp16")


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
        problems = []
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            problems.append(f"temperature: expected a number above 0, got {self.temperature}")
        if not 0 <= self.weight <= 1:
            problems.append(f"distillation weight: expected 0 to 1, got {self.weight}")
        if not (math.isfinite(self.hidden_weight) and self.hidden_weight >= 0):
            problems.append(f"hidden weight: expected a number of at least 0, got {self.hidden_weight}")
        if problems:
            raise ValueError("; ".join(problems))


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
        if problems := [*self._whole_problems(), *self._number_problems()]:
            raise ValueError("; ".join(problems))

    def _whole_problems(self) -> list[str]:
        least = {"epochs": 1, "batch": 1, "seed": 0, "redraw_every": 0, "save_every": 0, "workers": 0}
        return [
            f"{name}: expected a whole number of at least {low}, got {getattr(self, name)!r}"
            for name, low in least.items()
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), int)
            or getattr(self, name) < low
        ]  # fmt: skip

    def _number_problems(self) -> list[str]:
        problems = [
            f"{name}: expected a number above 0, got {getattr(self, name)}"
            for name in ("rate", "clip_norm")
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0)
        ]
        problems += [
            f"{name}: expected a number of at least 0, got {getattr(self, name)}"
            for name in ("weight_decay", "favor_weight")
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0)
        ]
        if not 0 <= self.warmup < 1:
            problems.append(f"warmup: expected a share of all steps, 0 to 1, got {self.warmup}")
        if self.precision not in PRECISIONS:
            problems.append(f"precision: expected one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        elif self.precision == "fp16" and self.device.split(":")[0] == "cpu":
            problems.append("precision: fp16 trains on a GPU alone; take bf16 or fp32 on the CPU")
        return problems

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of step 0 .. ``steps`` - 1: a line up to ``rate``, then half a cosine down towards 0."""
        warm = max(1, round(self.warmup * steps))
        if step < warm:
            return self.rate * (step + 1) / warm
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    def redraws_at(self, step: int, steps: int) -> bool:
        """Whether FAVOR+ draws its projections anew before this step."""
        return self.redraw_every > 0 and 0 < step < 0.75 * steps and step % self.redraw_every == 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def best_device() -> str:
    """The first GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
