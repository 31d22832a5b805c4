"""Trainings on the motion set from several seeds, judged on clips that no rate was chosen by: mean and deviation."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fast_timesformer.attention import PerformerAttention
from fast_timesformer.favor_error import favor_errors
from fast_timesformer.finetune import Distillation, Motion, MotionClips, Trainer, TrainingSettings, accuracy
from fast_timesformer.mechanism import MECHANISMS
from fast_timesformer.model import FastTimeSformer

# The sets of ``ftsf finetune --make-motion``, before they are videos. Rates were chosen by the one between them alone.
TRAIN, TEST = 0, 2
TEST_CLIPS, MEASURED_CLIPS = 1000, 64
LOW_LIMIT = 1.0


@dataclass(frozen=True)
class Trials:
    """What is trained, beside the seeds."""

    mechanisms: list[str]
    motion: Motion
    patch_size: int
    clips: MotionClips
    epochs: int

    def model(self, attn: str, seed: int, start: FastTimeSformer | None = None) -> FastTimeSformer:
        """One of the demonstration's width and depth, with random weights or those of ``start``."""
        torch.manual_seed(seed)
        sizes = {"patch_size": self.patch_size, "dim": 64, "depth": 2, "dim_head": 32, "drop_path": 0.0}
        frames, size = self.motion.frames, self.motion.size
        model = FastTimeSformer(frames, 3, size, size, len(self.motion.labels), attn_mechanism=attn, **sizes)
        if start is not None:
            model.load_state_dict(start.state_dict(), strict=False)
        return model

    def trained(
        self,
        attn: str,
        seed: int,
        start: FastTimeSformer | None = None,
        teacher: FastTimeSformer | None = None,
        **how: Any,
    ) -> FastTimeSformer:
        distillation = None if teacher is None else Distillation()
        how = {"epochs": self.epochs, "rate": MECHANISMS[attn].rate, **how}
        settings = TrainingSettings(seed=seed, precision="fp32", redraw_every=0, distillation=distillation, **how)
        model = self.model(attn, seed, start)
        list(Trainer(model, self.clips, settings, teacher=teacher).fit())
        return model

    def from_random(self, seeds: list[int]) -> Iterator[tuple[str, int, FastTimeSformer]]:
        """Name, seed and model of one training after another."""
        for seed in seeds:
            for attn in self.mechanisms:
                yield attn, seed, self.trained(attn, seed)
            if "performer" in self.mechanisms:
                low = self.trained("performer", seed, favor_limit=LOW_LIMIT)
                yield f"performer, `--favor-limit {LOW_LIMIT:g}`", seed, low

    def swapped(self, regular: dict[int, FastTimeSformer]) -> Iterator[tuple[str, int, FastTimeSformer]]:
        """Performers that begin with the weights of ``regular``, by seed."""
        for seed, start in regular.items():
            yield "performer with regular's weights, not trained", seed, self.model("performer", seed, start)
        for said in ("", ", taught by it", f", `--favor-limit {LOW_LIMIT:g}`"):
            for seed, start in regular.items():
                how = {"epochs": self.epochs // 2, **({"favor_limit": LOW_LIMIT} if "limit" in said else {})}
                model = self.trained("performer", seed, start, start if "taught" in said else None, **how)
                yield f"performer from regular's weights{said}", seed, model


def record(name: str, seed: int, model: FastTimeSformer, test: MotionClips, file: Path) -> None:
    """Adds what the model does on the clips to the file."""
    clips = torch.stack([test[index][0] for index in range(MEASURED_CLIPS)])
    errors = favor_errors(model, [clips])
    found: dict[str, Any] = {"name": name, "seed": seed, "top1": 100 * accuracy(model, test, batch=100)}
    if errors:
        found["median"] = statistics.median(each.median_query for each in errors)
        found["largest"] = max(each.largest_query for each in errors)
        found["error"] = max(each.error for each in errors)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(found) + "\n")


def lengths() -> None:
    """FAVOR+ against softmax for queries and keys of one length in random directions, independent of each other."""
    print("| \\|q\\| and \\|k\\|, head width 64 | 266 features | 1,024 features |\n|--:|--:|--:|")
    for length in (2, 4, 8):
        cells = [_over_seeds([_apart(length, features, seed) for seed in range(3)], 3) for features in (266, 1024)]
        print(f"| {length} | {' | '.join(cells)} |")


def _apart(length: float, features: int, seed: int) -> float:
    torch.manual_seed(seed)
    attention = PerformerAttention(dim=192, heads=1, dim_head=64, nb_features=features)
    with torch.no_grad():
        attention.to_qkv.weight.copy_(torch.eye(192))
    tokens = torch.randn(8, 196, 3, 64)
    tokens = tokens / tokens.norm(dim=-1, keepdim=True) * length
    return favor_errors(nn.Sequential(attention), [tokens.flatten(2)])[0].error


def table(file: Path) -> None:
    rows: dict[str, list[dict[str, Any]]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        rows.setdefault(json.loads(line)["name"], []).append(json.loads(line))
    print("| training | seeds | top-1, % | median \\|q'\\| | largest \\|q'\\| | distance from softmax |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, runs in rows.items():
        cells = [_over_seeds([run[key] for run in runs if key in run], digits) for key, digits in COLUMNS.items()]
        print(f"| {name} | {len(runs)} | {' | '.join(cells)} |")


COLUMNS = {"top1": 1, "median": 2, "largest": 2, "error": 3}


def _over_seeds(values: list[float], digits: int) -> str:
    """Mean and deviation (of a sample); "" of what this training does not have."""
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--record", type=Path, default=Path("finetune.jsonl"), help="results are added to this file")
    parser.add_argument("--mechanisms", nargs="+", default=["regular", "performer"], choices=list(MECHANISMS))
    parser.add_argument("--swap", action="store_true", help="also performer from regular's weights, half the epochs")
    parser.add_argument("--clips", type=int, default=4096, help="to train on (default: 4096)")
    parser.add_argument("--frames", type=int, default=2, help="of a clip (default: 2)")
    parser.add_argument("--size", type=int, default=16, help="of a frame in pixels (default: 16)")
    parser.add_argument("--patch-size", type=int, default=16, help="in pixels (default: 16)")
    parser.add_argument("--epochs", type=int, default=4, help="default: 4")
    parser.add_argument("--lengths", action="store_true", help="only FAVOR+'s distance from softmax by |q|, untrained")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.lengths:
        lengths()
        return
    motion = Motion(frames=asked.frames, size=asked.size)
    train, test = MotionClips(motion, asked.clips, seed=TRAIN), MotionClips(motion, TEST_CLIPS, seed=TEST)
    trials, regular = Trials(asked.mechanisms, motion, asked.patch_size, train, asked.epochs), {}
    for name, seed, model in trials.from_random(asked.seeds):
        record(name, seed, model, test, asked.record)
        if name == "regular":
            regular[seed] = model
    for name, seed, model in trials.swapped(regular if asked.swap else {}):
        record(name, seed, model, test, asked.record)
    table(asked.record)


if __name__ == "__main__":
    main()
