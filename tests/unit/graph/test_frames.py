"""Every token once, every frame with its class token, and back."""

from __future__ import annotations

import pytest
import torch

from ftsf_export.graph.forms.frames import MOST_FRAMES_WRITTEN_OUT, ClassMask, Frames
from ftsf_export.graph.forms.grid import Grid

WIDTH = 4


def grid_of(joiner: Frames) -> Grid:
    """Which tokens attend to each other, in the order in which they were joined."""
    if joiner.frame_major:
        return Grid(joiner.frames, joiner.tokens, 2, 2, "space")
    return Grid(joiner.tokens, joiner.frames, 2, 2, "time")


def stream(frames: int, patches: int) -> torch.Tensor:
    return torch.randn(2, 1 + frames * patches, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("frame_major", [True, False])
@pytest.mark.parametrize(("frames", "patches"), [(3, 6), (1, 5), (4, 1), (MOST_FRAMES_WRITTEN_OUT + 1, 2)])
def test_joined_and_parted(frames: int, patches: int, frame_major: bool) -> None:
    joiner = Frames(frames, 1 + patches, frame_major=frame_major)
    x_BND = stream(frames, patches)
    joined = joiner.join(x_BND[:, :1], x_BND[:, 1:], ClassMask(1 + patches).is_class)
    assert joined.shape == (2, frames * (1 + patches), WIDTH)
    # Groups of the grid are frames: the class token, then the frame's own patches.
    grid = grid_of(joiner)
    groups = grid.grouped(joined)
    for frame in range(frames):
        own = x_BND[:, 1 + frame * patches : 1 + (frame + 1) * patches]
        assert torch.equal(groups[:, frame], torch.cat((x_BND[:, :1], own), dim=1))
    assert torch.equal(grid.first_rows(joined), x_BND[:, :1].expand(-1, frames, -1))
    for alike in (True, False):
        assert torch.allclose(joiner.part(joined, alike=alike), x_BND, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("frame_major", [True, False])
@pytest.mark.parametrize("frames", [3, MOST_FRAMES_WRITTEN_OUT + 1])
def test_copies_that_differ_give_their_mean(frames: int, frame_major: bool) -> None:
    joiner = Frames(frames, 3, frame_major=frame_major)
    y_BSD = torch.randn(2, frames * 3, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    copies = grid_of(joiner).first_rows(y_BSD)
    assert torch.allclose(joiner.part(y_BSD, alike=False)[:, 0], copies.mean(dim=1), rtol=1e-13)
    assert torch.equal(joiner.part(y_BSD, alike=True)[:, 0], copies[:, 0])
