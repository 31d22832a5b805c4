"""The loop: it learns, it goes on bit for bit, it says what is wrong, and it leaves torch's random state alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fast_timesformer.drop_path import DropPath
from fast_timesformer.finetune import (
    Distillation,
    MotionClips,
    StateError,
    Trainer,
    TrainingDiverged,
    TrainingSettings,
    accuracy,
)
from fast_timesformer.finetune.state import newest_step
from fast_timesformer.model import FastTimeSformer

Make = Callable[..., FastTimeSformer]
MakeSettings = Callable[..., TrainingSettings]
TAUGHT = Distillation(hidden_weight=1.0)
MECHANISMS = ("regular", "fastformer", "performer")


def weights_of(model: FastTimeSformer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def without_dropout(model: FastTimeSformer) -> FastTimeSformer:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(module, DropPath):
            module.rate = 0.0
    return model


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a | b)


@pytest.mark.parametrize("attn", MECHANISMS)
def test_the_loss_falls(attn: str, make_model: Make, settings: MakeSettings, clips: MotionClips) -> None:
    """Twelve clips by heart: any training that works can do that."""
    trainer = Trainer(
        make_model(attn, dim=32), clips, settings(epochs=40, batch=12, rate=1e-2, precision="bf16", redraw_every=0)
    )
    losses = [epoch.loss for epoch in trainer.fit()]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("attn", ["regular", "performer"])
@pytest.mark.parametrize("stop_after", [4, 6])
def test_a_training_goes_on_bit_for_bit(
    attn: str, stop_after: int, make_model: Make, settings: MakeSettings, clips: MotionClips, tmp_path: Path
) -> None:
    """Stopped within the second epoch (step 4) and at its end (step 6), of 3 epochs of 3 steps."""
    whole = Trainer(make_model(attn), clips, settings())
    list(whole.fit())

    class Stopped(Exception):
        pass

    def stop(_said: str, done: float) -> None:
        if round(done * 9) == stop_after:
            raise Stopped

    first = Trainer(make_model(attn), clips, settings(save_every=1), folder=tmp_path)
    with pytest.raises(Stopped):
        list(first.fit(stop))
    assert newest_step(tmp_path) == stop_after
    torch.manual_seed(99)
    # Weights of another seed: they must all be replaced.
    second = Trainer(make_model(attn, seed=7), clips, settings(), folder=tmp_path)
    assert [epoch.number for epoch in second.fit()] == ([2, 3] if stop_after == 4 else [3])
    assert same(weights_of(whole.model), weights_of(second.model))
    assert len(list(tmp_path.iterdir())) == 2, "older checkpoints are removed"


def test_the_check_itself_sees_another_training(make_model: Make, settings: MakeSettings, clips: MotionClips) -> None:
    one, other = (Trainer(make_model(), clips, settings(seed=seed)) for seed in (0, 1))
    list(one.fit()), list(other.fit())
    assert not same(weights_of(one.model), weights_of(other.model))


def test_the_global_random_state_is_left_alone(make_model: Make, settings: MakeSettings, clips: MotionClips) -> None:
    before = torch.get_rng_state()
    list(Trainer(make_model("performer"), clips, settings()).fit())
    assert torch.equal(torch.get_rng_state(), before)


def test_projections_are_redrawn_and_then_rest(make_model: Make, settings: MakeSettings, clips: MotionClips) -> None:
    changed = []
    model = make_model("performer")
    omega = model.blocks[0].spatial.attn.omega
    last = [omega.clone()]

    def watch(_said: str, _done: float) -> None:
        changed.append(not torch.equal(omega, last[0]))
        last[0] = omega.clone()

    list(Trainer(model, clips, settings(redraw_every=3)).fit(watch))
    assert [step for step, redrawn in enumerate(changed) if redrawn] == [3, 6]


def test_another_training_is_not_gone_on_with(
    make_model: Make, settings: MakeSettings, clips: MotionClips, tmp_path: Path
) -> None:
    next(Trainer(make_model(), clips, settings(), folder=tmp_path).fit())
    with pytest.raises(StateError, match=r"rate: was 0.003, now 0.1"):
        next(Trainer(make_model(), clips, settings(rate=0.1), folder=tmp_path).fit())


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("the file's code ran",)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(Harm(), protocol=2)])
def test_a_state_that_does_not_read_runs_nothing(
    content: bytes, make_model: Make, settings: MakeSettings, clips: MotionClips, tmp_path: Path
) -> None:
    (tmp_path / "step-00000003.pt").write_bytes(content)
    with pytest.raises(StateError, match="not a readable checkpoint"):
        next(Trainer(make_model(), clips, settings(), folder=tmp_path).fit())


def test_a_loss_that_is_no_number_stops_the_training(
    make_model: Make, settings: MakeSettings, clips: MotionClips
) -> None:
    model = make_model()
    with torch.no_grad():
        model.head.bias[0] = float("nan")
    with pytest.raises(TrainingDiverged, match="step 1 of 9: the loss is nan"):
        next(Trainer(model, clips, settings()).fit())


def test_a_student_learns_from_the_teacher_alone(make_model: Make, settings: MakeSettings, clips: MotionClips) -> None:
    """With the labels' share at zero, the student comes closer to a random teacher, which knows no labels."""
    teacher, student = make_model(seed=1), make_model("fastformer")
    frozen = weights_of(teacher)
    how = settings(epochs=20, rate=1e-2, distillation=Distillation(weight=1.0, hidden_weight=1.0))
    losses = [epoch.loss for epoch in Trainer(student, clips, how, teacher=teacher).fit()]
    assert losses[-1] < 0.5 * losses[0]
    assert same(frozen, weights_of(teacher))


def test_what_cannot_be_compared_is_refused(make_model: Make, settings: MakeSettings, clips: MotionClips) -> None:
    distil = settings(distillation=Distillation(hidden_weight=1.0))
    with pytest.raises(ValueError, match="expected both or neither"):
        Trainer(make_model(), clips, settings(), teacher=make_model())
    with pytest.raises(ValueError, match="the teacher has 5 classes, the student 4"):
        Trainer(make_model(), clips, distil, teacher=make_model(classes=5))
    with pytest.raises(ValueError, match="dim is 32 in the teacher, 16 in the student"):
        Trainer(make_model(), clips, distil, teacher=make_model(dim=32))


def test_every_wrong_setting_is_named() -> None:
    with pytest.raises(ValueError, match=r"epochs: .*got 0; .*rate: .*-1.*favor_weight: .*nan.*warmup:.*fp16 trains"):
        TrainingSettings(epochs=0, rate=-1, favor_weight=float("nan"), warmup=1.0, precision="fp16")
    with pytest.raises(ValueError, match=r"temperature: .*got 0.0; distillation weight: .*got 2"):
        Distillation(temperature=0.0, weight=2)


def test_the_rate_rises_and_falls(settings: MakeSettings) -> None:
    how = settings(rate=1.0, warmup=0.2)
    rates = [how.rate_at(step, 10) for step in range(10)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[2] == 1.0
    assert rates[6] == pytest.approx(0.5)
    assert sorted(rates[2:], reverse=True) == rates[2:]
    assert 0 < rates[-1] < 0.05


@pytest.mark.parametrize("attn", MECHANISMS)
@pytest.mark.parametrize("taught", [False, True])
def test_micro_batches_give_the_step_of_one_batch(
    attn: str, taught: bool, make_model: Make, settings: MakeSettings, clips: MotionClips
) -> None:
    """Unequal parts: of 7 clips 3, 3 and 1, of 5 clips 2, 2 and 1."""
    found, losses = [], []
    for accumulate in (1, 3):
        model = without_dropout(make_model(attn))
        how = settings(batch=7, accumulate=accumulate, favor_limit=0.0, distillation=TAUGHT if taught else None)
        teacher = without_dropout(make_model(attn, seed=1)) if taught else None
        losses.append([epoch.loss for epoch in Trainer(model, clips, how, teacher=teacher).fit()])
        found.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach())
    start = torch.nn.utils.parameters_to_vector(make_model(attn).parameters()).detach()
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert float((found[1] - found[0]).norm() / (found[0] - start).norm()) < 1e-3


def test_views_are_judged_by_their_mean_score(make_model: Make) -> None:
    """One sure view outweighs two that are barely against it; a mean of logits or of votes would say otherwise."""
    logits = torch.tensor([[4.0, 0, 0, 0], [0.5, 0.7, 0, 0], [0.5, 0.7, 0, 0]])

    class Views(torch.utils.data.Dataset[tuple[Tensor, int]]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, _index: int) -> tuple[Tensor, int]:
            return torch.zeros(3, 2, 3, 16, 16), 0

    model = make_model()
    model.forward = lambda _clips: logits  # type: ignore[method-assign]
    assert accuracy(model, Views()) == 1
    logits[0] = torch.tensor([0.0, 9.0, 0, 0])
    assert accuracy(model, Views()) == 0
