"""A clip made again: the gate passes on what is the same, and names the first stage that departs otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from ftsf_export.bundle import Preprocessing
from ftsf_export.parity.preprocessing import judge_remade
from ftsf_export.verdict import Status, Subject
from ftsf_export.video import decode, preprocess, stages
from ftsf_export.video.stages import Made, golden_video, made_in_child, made_of
from tests.videos import real_videos

HOW = Preprocessing(4, 16, 64, (64, 56), (0.4, 0.45, 0.5), (0.2, 0.225, 0.25))
BYTES = replace(HOW, dtype="uint8", layout="FHWC", mean=(0.0,) * 3, std=(1.0,) * 3)
VIDEO = real_videos() / "bikes.mp4"
SUBJECT = Subject("golden.npz", "0" * 64)


@cache
def kept(how: Preprocessing = HOW) -> Made:
    return made_of(VIDEO, how)


def judged(made: Made, how: Preprocessing = HOW, **others: Any) -> Any:
    before = kept(how)
    return judge_remade((before.stages, before.clip), (made.stages, made.clip), how, SUBJECT, **others)


def again(how: Preprocessing) -> Made:
    """As ``verify`` makes it: the frames that are kept, by the manifest's description."""
    return made_of(VIDEO, how, kept().stages.indices)


@pytest.mark.parametrize("how", [HOW, BYTES])
def test_the_same_clip_passes_also_from_another_process(how: Preprocessing) -> None:
    made = made_in_child(VIDEO, how, kept(how).stages.indices, limited=True)
    verdict = judged(made, how)
    assert verdict.passed
    assert {m.output for m in verdict.measures} == {"decode", "sample", "resize", "crop", "normalise"}
    np.testing.assert_array_equal(made.clip, kept(how).clip)


def frames_changed(change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    class Changed(decode.Upright):
        def __call__(self, frame: Any) -> Any:
            return np.ascontiguousarray(change(super().__call__(frame)))

    return lambda patch: patch.setattr(decode, "Upright", Changed)


def full_range_taken_for_limited(frame: Any) -> Any:
    return np.clip((frame.astype(np.float32) - 16) * 255 / 219, 0, 255).astype(np.uint8)


def crop_one_pixel_off(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stages, "centre", lambda frame, how: preprocess.centre(np.roll(frame, 1, axis=1), how))


def not_normalised(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Preprocessing, "normalisation", replace(HOW, mean=(0.0,) * 3, std=(1.0,) * 3).normalisation)


@pytest.mark.parametrize(
    ("stage", "how", "fault"),
    [
        ("decode", {}, frames_changed(lambda frame: frame[..., ::-1])),
        ("decode", {}, frames_changed(full_range_taken_for_limited)),
        ("decode", {}, frames_changed(lambda frame: np.rot90(frame))),
        ("sample", {"stride": 1}, None),
        ("sample", {"sampling": "segments"}, None),
        ("resize", {"resample": "nearest"}, None),
        ("resize", {"resample": "bicubic"}, None),
        ("resize", {"resizer": "opencv"}, None),
        ("resize", {"resize_short_side": 65}, None),
        ("crop", {}, crop_one_pixel_off),
        ("normalise", {"color_order": "BGR"}, None),
        ("normalise", {"mean": (0.45,) * 3}, None),
        ("normalise", {}, not_normalised),
    ],
)
def test_the_first_stage_that_departs_is_named(
    monkeypatch: pytest.MonkeyPatch, stage: str, how: dict[str, Any], fault: Callable[[pytest.MonkeyPatch], None] | None
) -> None:
    kept()
    if fault is not None:
        fault(monkeypatch)
    made = again(replace(HOW, **how))
    monkeypatch.undo()
    verdict = judged(made)
    assert verdict.status is Status.FAILED
    assert verdict.reason.startswith(f"{stage} is the first stage that departs from the export's: {stage}: ")


def test_the_graph_is_the_last_stage() -> None:
    verdict = judged(kept(), graph={"parity.fp16-emulated": Status.FAILED})
    assert verdict.reason.startswith("graph is the first stage that departs")
    assert judged(kept(), graph={"parity.fp16-emulated": Status.PASSED}).passed


def test_a_grey_level_here_and_there_is_no_departure() -> None:
    """As another build of FFmpeg rounds colours: the digest differs, and is told."""
    made = kept()
    decoded, clip = made.stages.decoded.copy(), made.clip.copy()
    decoded[::20] += 1
    clip[0, 0, :2] += 1 / 255 / 0.2
    verdict = judged(replace(made, stages=replace(made.stages, decoded=decoded, decoded_sha256="1" * 64), clip=clip))
    assert verdict.passed
    assert {m.metric: m.value for m in verdict.measures}["other digest"] == 1
    decoded[::5] += 1
    assert not judged(replace(made, stages=replace(made.stages, decoded=decoded))).passed


def test_what_is_kept_of_a_video(monkeypatch: pytest.MonkeyPatch) -> None:
    video = golden_video(VIDEO, kept().stages, clip=1)
    assert (video.name, video.size_bytes, video.stages.available) == ("bikes.mp4", VIDEO.stat().st_size, 250)
    assert video.content is not None
    assert video.content.tobytes() == VIDEO.read_bytes()
    arrays = video.arrays()
    read = type(video).taken_from(arrays)
    assert not arrays
    assert read is not None
    assert (read.sha256, read.stages.indices) == (video.sha256, kept().stages.indices)
    monkeypatch.setattr(stages, "MOST_BYTES", 500_000)
    assert golden_video(VIDEO, kept().stages, clip=1).content is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("video/content", np.zeros(5, np.uint8)),
        ("video/sha256", np.asarray("f" * 64)),
        ("video/sha256", np.asarray("no digest")),
        ("video/indices", np.asarray([0, 250])),
        ("video/decoded", np.asarray([np.nan], np.float32)),
        ("video/numbers", np.asarray([1, 2])),
        ("video/name", np.zeros(3)),
    ],
)
def test_a_forged_record_is_refused(name: str, value: Any) -> None:
    video = golden_video(VIDEO, kept().stages, clip=1)
    with pytest.raises(ValueError, match="video"):
        type(video).taken_from({**video.arrays(), name: value})
    assert type(video).taken_from({}) is None
