"""On which videos a checkpoint was trained: Something-Something-v2 is fed otherwise than Kinetics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from fast_timesformer import save_model
from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import Preprocessing
from ftsf_export.checkpoint import describe_checkpoint
from ftsf_export.config import ExportConfig
from ftsf_export.errors import ConfigError, UsageError
from ftsf_export.pipeline.resolve import resolve_export
from tests.unit.checkpoint.original import original_state

SETTINGS = "TRAIN:\n  DATASET: {0}\nDATA:\n  NUM_FRAMES: 4\n  PATH_PREFIX: /data/{0}/frames\n"
TEMPLATES = {str(index): f"Pushing [something] number {index}" for index in range(174)}


def write(path: Path, classes: int = 174, **beside: Any) -> Path:
    state = original_state(dim=64, depth=1, classes=classes)
    torch.save({"model_state": {f"model.{name}": tensor for name, tensor in state.items()}, **beside}, path)
    return path


def read(path: Path, **asked: Any) -> tuple[Preprocessing, list[str]]:
    checkpoint = describe_checkpoint(path, ExportConfig(checkpoint=path, **asked))
    return checkpoint.preprocessing, [text for text in checkpoint.warnings if text.startswith("AMBIGUOUS")]


def is_ssv2(how: Preprocessing) -> bool:
    assert (how.sampling == "segments") is (how.color_order == "BGR")
    return how.sampling == "segments"


@pytest.mark.parametrize(
    ("name", "classes", "beside", "ssv2"),
    [
        ("a.pyth", 174, {"cfg": SETTINGS.format("ssv2")}, True),
        ("a.pyth", 7, {"cfg": SETTINGS.format("Ssv2")}, True),
        ("a.pyth", 174, {"cfg": "DATA:\n  PATH_PREFIX: /data/something-something-v2\n"}, True),
        ("TimeSformer_divST_8_224_SSv2.pyth", 174, {}, True),
        ("a.pyth", 400, {"cfg": SETTINGS.format("kinetics")}, False),
        ("TimeSformer_SSv2.pyth", 174, {"cfg": SETTINGS.format("kinetics")}, False),
        ("TimeSformer_divST_8x32_224_K400.pyth", 400, {}, False),
        ("a.pyth", 7, {}, False),
    ],
)
def test_files_of_the_original(tmp_path: Path, name: str, classes: int, beside: dict[str, Any], ssv2: bool) -> None:
    how, doubts = read(write(tmp_path / name, classes, **beside))
    assert (is_ssv2(how), doubts) == (ssv2, [])
    assert (how.resizer, how.resize_short_side) == ("torch", 24)
    assert ssv2 or how.sampling == "spread"


@pytest.mark.parametrize(
    ("name", "classes", "ssv2", "why"),
    [
        ("a.pyth", 174, True, "has 174 classes"),
        ("my_ssv2_run.pyth", 12, True, "is named after"),
        ("k400_to_mine.pyth", 174, False, "has 174 classes"),
    ],
)
def test_one_sign_alone_is_a_warning_with_both_readings(
    tmp_path: Path, name: str, classes: int, ssv2: bool, why: str
) -> None:
    path = write(tmp_path / name, classes)
    how, (doubt,) = read(path)
    assert is_ssv2(how) is ssv2
    assert f"{name} {why}" in doubt
    assert "one from the middle of each of 4 equal parts of the video, in BGR" in doubt
    assert "4 frames, evenly over 8.53 s from the start, in RGB" in doubt
    for said in ("ssv2", "kinetics"):
        how, doubts = read(path, trained_on=said)
        assert (is_ssv2(how), doubts) == (said == "ssv2", [])


@pytest.mark.parametrize(
    ("name", "labels", "ssv2", "doubted"),
    [
        ("timesformer-base-finetuned-ssv2", {str(i): f"LABEL_{i}" for i in range(174)}, True, False),
        ("mine", TEMPLATES, True, False),
        ("mine", {str(i): f"sport {i}" for i in range(174)}, False, False),
        ("mine", {str(i): f"LABEL_{i}" for i in range(174)}, True, True),
        ("timesformer-ssv2-mine", {"0": "left", "1": "right"}, True, True),
        ("timesformer-base-finetuned-k400", {"0": "left", "1": "right"}, False, False),
    ],
)
def test_hugging_face(
    huggingface: Callable[..., Path], name: str, labels: dict[str, str], ssv2: bool, doubted: bool
) -> None:
    how, doubts = read(huggingface(name=name, id2label=labels, num_labels=len(labels), num_hidden_layers=1))
    assert (is_ssv2(how), bool(doubts)) == (ssv2, doubted)
    assert (how.resizer, how.resize_short_side) == ("pillow", 28), "the processor's own"


def test_a_published_name_says_how_far_frames_are_apart(tmp_path: Path) -> None:
    """4x24 in the name of a model of 4 frames; its settings say it better."""
    assert read(write(tmp_path / "TimeSformer_divST_4x24_224_HowTo100M.pyth", 7))[0].stride == 24
    assert read(write(tmp_path / "TimeSformer_divST_8x24_224_K400.pyth", 7))[0].stride == 64
    said = "DATA:\n  SAMPLING_RATE: 6\n"
    assert read(write(tmp_path / "TimeSformer_divST_4x24_224_K600.pyth", 7, cfg=said))[0].stride == 6


def test_ours_keep_what_they_were_trained_with(tmp_path: Path) -> None:
    how, _ = read(write(tmp_path / "ssv2.pyth"))
    model = FastTimeSformer(4, 3, 24, 24, 3, dim=32, dim_head=16, patch_size=8, depth=1)
    save_model(model, tmp_path / "a.safetensors", preprocessing=asdict(how))
    assert read(tmp_path / "a.safetensors") == (how, [])


def test_without_a_checkpoint_there_is_nothing_it_was_trained_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --checkpoint"):
        resolve_export(ExportConfig(trained_on="ssv2", builder="none"), output=tmp_path / "out")
    with pytest.raises(ConfigError, match="trained_on: expected one of kinetics, ssv2, got 'imagenet'"):
        ExportConfig(trained_on="imagenet")  # type: ignore[arg-type]
