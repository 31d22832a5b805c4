"""Frames and sizes that the model was not trained with: nearest neighbour, as in Hugging Face's embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ftsf_export.checkpoint import load_checkpoint
from ftsf_export.checkpoint.load import space_from_space, time_from_time
from ftsf_export.config import ExportConfig
from tests.unit.checkpoint.pretrained import noise, relative, their_model


@pytest.mark.parametrize("frames", [3, 4, 5, 8, 16])
@pytest.mark.parametrize("size", ["24", "48", "16x40", "32x24", "56"])
@pytest.mark.parametrize("attention_type", ["divided_space_time", "space_only"])
def test_as_their_embeddings_do(huggingface: Callable[..., Path], attention_type: str, size: str, frames: int) -> None:
    """The first residual stream: patches, class token, positions. Theirs keeps tokens patch by patch."""
    folder = huggingface(attention_type=attention_type)
    config = ExportConfig(checkpoint=folder, frames=frames, size=size)
    ours, checkpoint = load_checkpoint(folder, config)
    clip = noise(frames, config.size.height, config.size.width, clips=2)
    with torch.no_grad():
        expected = their_model(attention_type=attention_type).double().timesformer.embeddings(clip)
        got = ours.double()._embed(clip)
    if attention_type == "divided_space_time":
        patches = expected[:, 1:].unflatten(1, (-1, frames)).transpose(1, 2).flatten(1, 2)
        expected = torch.cat((expected[:, :1], patches), dim=1)
    assert relative(got, expected) <= 1e-12
    said = " ".join(checkpoint.warnings)
    assert (f"trained with 4 frames, asked for {frames}" in said) is (frames != 4 and attention_type != "space_only")
    assert ("space embeddings are interpolated (nearest): trained with 24x24 px" in said) is (size != "24")


def test_rows_stay_rows() -> None:
    """A grid of 2 x 2 becomes 4 x 4 in blocks; the original's loader would stretch the flattened grid."""
    pos_PD = torch.arange(5.0)[:, None]
    got = space_from_space(pos_PD, (2, 2), (4, 4))
    assert got[0] == 0
    assert got[1:, 0].reshape(4, 4).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


def test_time_is_repeated_or_thinned() -> None:
    pos_FD = torch.arange(4.0)[:, None]
    assert time_from_time(pos_FD, 8)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert time_from_time(pos_FD, 2)[:, 0].tolist() == [0, 2]


def test_the_variants_keep_their_own_frames_and_size(huggingface: Callable[..., Path]) -> None:
    """HR is 16 frames of twice the size, L is 96 frames: nothing is interpolated where nothing else was asked."""
    for frames, side in ((16, 48), (96, 24)):
        folder = huggingface(name=f"m{frames}", num_frames=frames, image_size=side, num_hidden_layers=1)
        (folder / "preprocessor_config.json").unlink()
        model, checkpoint = load_checkpoint(folder, ExportConfig(checkpoint=folder))
        assert (model.config.frames, model.config.height) == (frames, side)
        assert not any("interpolated" in warning for warning in checkpoint.warnings)
