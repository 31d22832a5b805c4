"""Directories as transformers and its Trainer write them, and configurations that its model takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from ftsf_export.checkpoint import describe_checkpoint, load_checkpoint
from ftsf_export.checkpoint.hub import HubId, _needed
from ftsf_export.checkpoint.huggingface_logits import huggingface_logits, lacking
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError
from ftsf_export.video.preprocess import preprocess
from tests.unit.checkpoint.original import original_logits, original_state
from tests.unit.checkpoint.pretrained import noise, original_names, relative, their_model, write_huggingface


def check_parity(path: Path, theirs: Any) -> Any:
    ours, checkpoint = load_checkpoint(path, ExportConfig(checkpoint=path))
    clip = noise(4, ours.config.height, ours.config.width)
    with torch.no_grad():
        expected = theirs.double()(clip).logits
        assert relative(ours.double()(clip), expected) <= 1e-5
    assert lacking(checkpoint) == ""
    assert relative(torch.from_numpy(huggingface_logits(checkpoint, clip.float().numpy())), expected) <= 1e-5
    return checkpoint


def sharded(folder: Path, theirs: Any) -> Path:
    theirs.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2
    return folder


def test_weights_in_several_files(tmp_path: Path) -> None:
    theirs = their_model()
    checkpoint = check_parity(sharded(tmp_path / "m", theirs), theirs)
    assert checkpoint.weights.file == "model.safetensors.index.json"
    lines = "".join(
        f"{_sha256(file)}  {file.name}\n" for file in sorted((tmp_path / "m").glob("model-*-of-*.safetensors"))
    )
    assert checkpoint.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    again = describe_checkpoint(tmp_path / "m" / "model.safetensors.index.json", ExportConfig())
    assert again.sha256 == checkpoint.sha256


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda where: dict.fromkeys(where, "../x.safetensors"), "names of files beside it"),
        (lambda where: dict.fromkeys(where, 3), "names of files beside it"),
        (lambda where: dict.fromkeys(where, "/etc/passwd"), "names of files beside it"),
        (lambda where: {**where, "more": next(iter(where.values()))}, "more: expected in model-"),
        (lambda where: dict(list(where.items())[1:]), "expected in None, found in model-"),
        (lambda where: {**where, "more": "model-7.safetensors"}, "found nothing there"),
        (lambda _where: [], "the file of each tensor"),
    ],
)
def test_an_index_that_lies(tmp_path: Path, spoil: Callable[[dict[str, str]], Any], said: str) -> None:
    folder = sharded(tmp_path / "m", their_model(num_hidden_layers=1))
    file = folder / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    file.write_text(json.dumps({**index, "weight_map": spoil(index["weight_map"])}))
    with pytest.raises(UsageError) as caught:
        describe_checkpoint(folder, ExportConfig())
    assert said in caught.value.message


def test_several_files_on_the_hub() -> None:
    sizes = dict.fromkeys(
        ("config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
         "model-00002-of-00002.safetensors", "pytorch_model.bin", "optimizer.pt"), 5,
    )  # fmt: skip
    hub_id = HubId("a/b", "main")
    assert sorted(_needed(hub_id, sizes)) == [
        "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="at most 8589934592 bytes are read, it has 12000000010"):
        _needed(hub_id, {**sizes, "model-00001-of-00002.safetensors": 12 * 10**9})


def test_the_output_folder_of_a_training(tmp_path: Path) -> None:
    """The newest by its number, not by its name; a half-written one is none."""
    run = tmp_path / "run"
    for step in (900, 1000):
        theirs = write_huggingface(run / f"checkpoint-{step}", their_model(num_labels=step // 100))
    (run / "checkpoint-2000").mkdir()
    (run / "runs").mkdir()
    (theirs / "preprocessor_config.json").rename(run / "preprocessor_config.json")
    checkpoint = describe_checkpoint(run, ExportConfig())
    assert (checkpoint.model.num_classes, checkpoint.found.name) == (10, "run/checkpoint-1000")
    assert checkpoint.warnings == ("run is the output of a training: taken is its newest checkpoint, checkpoint-1000",)
    assert checkpoint.preprocessing.mean == (0.4, 0.45, 0.5), "the processor that the training saved above"
    write_huggingface(run, their_model(num_labels=3))
    assert describe_checkpoint(run, ExportConfig()).model.num_classes == 3, "the model that was saved last"


def test_a_folder_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the directory has no config\.json"):
        describe_checkpoint(tmp_path, ExportConfig())


@pytest.mark.parametrize(
    "fields", [{"hidden_act": "gelu_python"}, {"intermediate_size": 33}, {"intermediate_size": 112}]
)
def test_configurations_of_the_network(huggingface: Callable[..., Path], fields: dict[str, Any]) -> None:
    check_parity(huggingface(**fields), their_model(**fields))


def test_another_gelu_is_another_network(huggingface: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="hidden_act: expected one of gelu, gelu_python, got 'gelu_new'"):
        describe_checkpoint(huggingface(hidden_act="gelu_new"), ExportConfig())


def test_an_mlp_of_any_width_in_a_file_of_the_original(tmp_path: Path) -> None:
    """mlp_ratio=3.5 of width 64, and a width that no ratio has."""
    for hidden in (224, 129):
        state = original_state(dim=64, depth=1, hidden=hidden)
        torch.save({"model_state": state}, tmp_path / "a.pyth")
        config = ExportConfig(checkpoint=tmp_path / "a.pyth", heads=2, norm_eps=1e-6)
        ours, _ = load_checkpoint(tmp_path / "a.pyth", config)
        clip = noise(4, 24, 24)
        with torch.no_grad():
            assert relative(ours.double()(clip), original_logits(state, clip, heads=2, eps=1e-6)) <= 1e-5
        assert ours.config.hidden_dim == hidden


def test_frames_that_patches_do_not_fill(huggingface: Callable[..., Path]) -> None:
    """transformers' convolution leaves the last rows and columns out: of a video the same pixels count for both."""
    folder, theirs = huggingface(image_size=29), their_model(image_size=29)
    fields = {"size": {"shortest_edge": 31}, "crop_size": {"height": 29, "width": 29}, "image_mean": [0.4] * 3}
    VideoMAEImageProcessorPil(**fields).save_pretrained(folder)
    checkpoint = check_parity(folder, theirs)
    how = checkpoint.preprocessing
    assert (checkpoint.model.height, how.crop, how.box) == (24, (24, 24), (29, 29))
    assert "has frames of 29x29, which patches of 8 px do not fill: 24x24 is all that it sees" in checkpoint.warnings[0]
    frames = [np.random.default_rng(i).integers(0, 256, (40, 57, 3), np.uint8) for i in range(4)]
    whole = torch.from_numpy(
        np.asarray(VideoMAEImageProcessorPil.from_pretrained(folder)(frames, return_tensors="np")["pixel_values"])
    )
    ours, _ = load_checkpoint(folder, ExportConfig())
    with torch.no_grad():
        got = ours(torch.from_numpy(preprocess(frames, how))[None])
        assert relative(got, theirs.float()(whole).logits) <= 1e-5


def test_frames_smaller_than_a_patch(huggingface: Callable[..., Path]) -> None:
    folder = huggingface()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "image_size": 7}))
    with pytest.raises(UsageError, match="image_size: expected at least one patch of 8"):
        describe_checkpoint(folder, ExportConfig())


WIDE = {"dim": 64, "depth": 1, "grid": (2, 5)}


def test_a_wide_file_of_the_original_needs_its_size(tmp_path: Path) -> None:
    state = original_state(**WIDE)
    torch.save({"model_state": state}, tmp_path / "a.pyth")
    said = {"checkpoint": tmp_path / "a.pyth", "heads": 2, "norm_eps": 1e-6}
    for asked in ({}, {"size": "24x40"}):
        with pytest.raises(UsageError, match="positions of 10 patches of 8 px, which make no square"):
            describe_checkpoint(tmp_path / "a.pyth", ExportConfig(**said, **asked))
    ours, checkpoint = load_checkpoint(tmp_path / "a.pyth", ExportConfig(**said, size="16x40"))
    clip = noise(4, 16, 40)
    with torch.no_grad():
        assert relative(ours.double()(clip), original_logits(state, clip, heads=2, eps=1e-6)) <= 1e-5
    assert (checkpoint.model.height, checkpoint.model.width, checkpoint.warnings) == (16, 40, ())


@pytest.mark.parametrize("attention_type", ["divided_space_time", "joint_space_time", "space_only"])
def test_as_many_patches_in_another_shape_are_not_interpolated(
    huggingface: Callable[..., Path], attention_type: str
) -> None:
    """8x72 pixels have the nine patches of 24x24: the original and transformers leave the positions as they are."""
    folder = huggingface(attention_type=attention_type)
    theirs = their_model(attention_type=attention_type)
    ours, checkpoint = load_checkpoint(folder, ExportConfig(checkpoint=folder, size="8x72"))  # type: ignore[arg-type]
    clip = noise(4, 8, 72)
    expected = original_logits(original_names(theirs), clip, heads=2, eps=1e-6)
    with torch.no_grad():
        assert relative(ours.double()(clip), expected) <= 1e-10
    assert lacking(checkpoint) == ""
    second = torch.from_numpy(huggingface_logits(checkpoint, clip.numpy(), dtype=torch.float64))
    assert relative(second, expected) <= 1e-10
    assert "space embeddings stay as they are, row by row in a grid of another shape" in checkpoint.warnings[0]
