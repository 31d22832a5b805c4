"""The synthetic set: made from its seed, balanced, moving as its labels say, and mute without the order of frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fast_timesformer.finetune import Motion, MotionClips
from fast_timesformer.finetune.motion import DIRECTIONS


def places(clip_FHW: Tensor) -> Tensor:
    """Centre of the bright square in each frame, (F, 2): row, column."""
    return torch.stack([(frame > 100).nonzero().float().mean(dim=0) for frame in clip_FHW])


@pytest.mark.parametrize("directions", [4, 8])
def test_the_square_moves_as_the_label_says(directions: int) -> None:
    motion = Motion(directions=directions)
    for index in range(3 * directions):
        clip, label = motion.clip(index, seed=1)
        moved = places(clip)[-1] - places(clip)[0]
        way = torch.tensor(DIRECTIONS[motion.labels[label]], dtype=torch.float32)
        assert torch.equal(moved.sign(), way)
        assert 7 <= moved.abs().max() <= 17, "a quarter to a half of 32 px"


def test_classes_take_turns_and_are_sorted_as_folders_are() -> None:
    motion = Motion(directions=8)
    assert list(motion.labels) == sorted(DIRECTIONS)
    assert [motion.clip(index, seed=0)[1] for index in range(9)] == [*range(8), 0]


def test_the_same_seed_gives_the_same_numbers_and_another_others() -> None:
    clip, _ = Motion().clip(5, seed=3)
    assert torch.equal(clip, Motion().clip(5, seed=3)[0])
    assert not torch.equal(clip, Motion().clip(5, seed=4)[0])
    assert not torch.equal(clip, Motion().clip(9, seed=3)[0])


def test_left_and_right_cover_the_same_places() -> None:
    """Without the order of the frames the two cannot be told apart: their mean column is distributed alike."""
    motion, columns = Motion(), {"left": [], "right": []}
    for index in range(1200):
        if (name := motion.labels[index % 4]) in columns:
            columns[name].append(float(places(motion.clip(index, seed=0)[0])[:, 1].mean()))
    left, right = (torch.tensor(values) for values in columns.values())
    spread = float((left.var() / len(left) + right.var() / len(right)).sqrt())
    assert abs(float(left.mean() - right.mean())) < 3 * spread


def test_the_clips_are_normalised_grey() -> None:
    x_FCHW, label = MotionClips(Motion(frames=3, size=16), 2, seed=0)[1]
    assert x_FCHW.shape == (3, 3, 16, 16)
    assert label == 1
    assert torch.equal(x_FCHW[:, 0], x_FCHW[:, 2])
    assert float(x_FCHW.min()) == pytest.approx(-0.45 / 0.225, abs=0.05)


@pytest.mark.parametrize(("field", "value"), [("directions", 5), ("frames", 1), ("size", 15)])
def test_a_wrong_field_is_named(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field}: expected .* got {value}"):
        Motion(**{field: value})
