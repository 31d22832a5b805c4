"""The gates on preprocessing, in exports and in ``ftsf verify``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from ftsf_export import ExportConfig, export, verify
from ftsf_export.bundle import GOLDEN_NAME, Preprocessing
from ftsf_export.bundle.golden import read_golden
from ftsf_export.bundle.manifest import MANIFEST_NAME
from ftsf_export.errors import BundleError, UsageError
from ftsf_export.pipeline import preprocessing_gates
from ftsf_export.pipeline.clips import judged_clips
from ftsf_export.pipeline.preprocessing_gates import processor_verdicts
from ftsf_export.pipeline.resolve import resolve_export
from ftsf_export.verdict import Status, Subject, Verdict
from ftsf_export.video import stages
from tests.unit.checkpoint.pretrained import their_model, write_huggingface, write_pyth
from tests.unit.manifests import read_manifest, rehash
from tests.videos import real_videos

SMALL = {"attn": "regular", "frames": 2, "size": "32", "dim": 64, "depth": 1, "dim_head": 16, "num_classes": 5}
VIDEO = real_videos() / "bikes.mp4"
SUBJECT = Subject(GOLDEN_NAME, "0" * 64)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ExportConfig(**SMALL, precision="fp32", builder="none", videos=[VIDEO], input="uint8")  # type: ignore[arg-type]
    return export(config, output=tmp_path_factory.mktemp("video") / "bundle").path


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


def found(path: Path, **options: Any) -> Verdict:
    return next(one for one in verify(path, **options).verdicts if one.gate == "preprocessing")


def described(path: Path, **changes: Any) -> None:
    """The manifest describes preprocessing otherwise, as an older or a wrong reader of a video would do it."""
    manifest = read_manifest(path)
    how = replace(manifest.preprocessing, **changes)
    (path / MANIFEST_NAME).write_bytes(replace(manifest, preprocessing=how).to_bytes())


def test_the_video_travels_and_its_clip_is_made_again(bundle: Path) -> None:
    golden = read_golden(bundle / GOLDEN_NAME)
    assert golden.video is not None
    assert golden.video.content is not None
    assert golden.sources[golden.video.clip].startswith("bikes.mp4 frames ")
    verdict = found(bundle)
    assert verdict.passed
    assert {m.output for m in verdict.measures} >= {"decode", "sample", "resize", "crop", "normalise", "graph"}


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("sample", {"stride": 1}),
        ("resize", {"resample": "bicubic"}),
        ("crop", {"box": (32, 34)}),
        ("normalise", {"color_order": "BGR"}),
    ],
)
def test_verify_names_the_stage(bundle: Path, stage: str, changes: dict[str, Any]) -> None:
    described(bundle, **changes)
    verdict = found(bundle)
    assert verdict.status is Status.FAILED
    assert verdict.reason.startswith(f"{stage} is the first stage")


def test_a_video_that_does_not_travel_is_asked_for(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_content(bundle)
    verdict = found(bundle)
    assert verdict.status is Status.NOT_RUN
    assert "bikes.mp4 is too large to travel in the bundle; give it: ftsf verify --video FILE" in verdict.reason
    assert found(bundle, video=VIDEO).passed
    with pytest.raises(UsageError, match=r"expected bikes\.mp4 as it was exported"):
        verify(bundle, video=real_videos() / "carphone_pristine.mp4")
    monkeypatch.setattr(preprocessing_gates, "lacking_modules", lambda _extra: ["av"])
    assert "av: not installed" in found(bundle).reason


def without_content(path: Path) -> None:
    arrays = dict(np.load(path / GOLDEN_NAME))
    del arrays["video/content"]
    np.savez(path / GOLDEN_NAME, **arrays)
    rehash(path)


def test_other_bytes_than_those_of_the_export_are_refused(bundle: Path) -> None:
    arrays = dict(np.load(bundle / GOLDEN_NAME))
    arrays["video/content"] = arrays["video/content"][::-1]
    np.savez(bundle / GOLDEN_NAME, **arrays)
    rehash(bundle)
    with pytest.raises(BundleError, match="not those that were exported"):
        verify(bundle)


def test_a_process_that_takes_too_much_is_an_error_and_no_verdict(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsf_export.errors import RunError
    from ftsf_export.process.quota import Quota

    monkeypatch.setattr(stages, "_QUOTA", Quota(processor_s=0.01, memory_bytes=1 << 40))
    with pytest.raises(RunError, match="the process that decodes it was killed at its limit"):
        found(bundle)
    assert found(bundle, video=VIDEO).passed, "a file that the user names has no limit"
    assert found(bundle, limited=False).passed


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose processor transformers wrote; its crop is smaller than what is resized."""
    model = their_model()
    folder = write_huggingface(tmp_path_factory.mktemp("theirs") / "m", model)
    side = model.config.image_size
    VideoMAEImageProcessorPil(
        size={"shortest_edge": side + 7}, crop_size={"height": side, "width": side}, image_mean=[0.4, 0.45, 0.5],
        image_std=[0.2, 0.225, 0.25],
    ).save_pretrained(folder)  # fmt: skip
    return folder


def processor_verdict(
    folder: Path, output: Path, change: Callable[[Preprocessing], Preprocessing] | None, **asked: Any
) -> Verdict:
    resolved = resolve_export(ExportConfig(checkpoint=folder, builder="none", **asked), output=output)
    clips = judged_clips(resolved.preprocessing, seed=0, videos=resolved.config.videos)
    if change is not None:
        resolved = replace(resolved, preprocessing=change(resolved.preprocessing))
    (verdict,) = processor_verdicts(resolved, clips, SUBJECT)
    return verdict


@pytest.mark.parametrize("asked", [{}, {"videos": [VIDEO]}, {"videos": [VIDEO], "input": "uint8"}, {"pixels": True}])
def test_the_checkpoints_own_processor_gives_the_same(theirs: Path, tmp_path: Path, asked: dict[str, Any]) -> None:
    verdict = processor_verdict(theirs, tmp_path / "out", None, **asked)
    assert verdict.passed
    assert len(verdict.measures) == 8
    assert max(one.value for one in verdict.measures) < 0.01


@pytest.mark.parametrize(
    "changes",
    [
        {"color_order": "BGR"},
        {"resample": "bicubic"},
        {"resizer": "torch"},
        {"box": (26, 26)},
        {"mean": (0.4, 0.45, 0.52)},
        {"mean": (0.0,) * 3, "std": (1.0,) * 3},
        {"resize_short_side": 42},
    ],
)
def test_another_preprocessing_than_the_processors_fails(theirs: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    verdict = processor_verdict(theirs, tmp_path / "out", lambda how: replace(how, **changes), videos=[VIDEO])
    assert verdict.status is Status.FAILED
    assert "differs from the checkpoint's own processor: bikes.mp4, 272x640: " in verdict.reason


def test_it_is_not_run_where_there_is_nobody_to_ask(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyth = write_pyth(tmp_path / "a.pyth", their_model(num_attention_heads=1, hidden_size=64))
    verdict = processor_verdict(pyth, tmp_path / "out", None)
    assert (verdict.status, "brings no processor" in verdict.reason) == (Status.NOT_RUN, True)
    assert "the model takes" in processor_verdict(theirs, tmp_path / "out", None, size="64").reason
    grey = write_huggingface(tmp_path / "grey", their_model(num_channels=1))
    shutil.copy(theirs / "preprocessor_config.json", grey)
    monkeypatch.setattr(
        "ftsf_export.checkpoint.huggingface_processor.their_clip", lambda *_: (_ for _ in ()).throw(KeyError("edge"))
    )
    assert "fails on noise, 38x54: KeyError: 'edge'" in processor_verdict(theirs, tmp_path / "out", None).reason
    monkeypatch.setattr("ftsf_export.checkpoint.huggingface_processor.find_spec", lambda _name: None)
    assert "transformers: not installed" in processor_verdict(theirs, tmp_path / "out", None).reason
