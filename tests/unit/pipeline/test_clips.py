"""What an export is judged on, and the clock of its stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ftsf_export.bundle import GraphInput, Preprocessing
from ftsf_export.config import ExportConfig
from ftsf_export.parity.judge import Pair
from ftsf_export.pipeline.clips import LEAST_CLIPS, judged_clips, noise_clip
from ftsf_export.pipeline.shown_clips import shown_clips
from ftsf_export.pipeline.stages import Stages
from ftsf_export.strict_json import plain
from tests.videos import real_videos

HOW = Preprocessing(4, 8, 32, (32, 48), (0.4, 0.45, 0.5), (0.2, 0.225, 0.25))


def carphone() -> Path:
    return real_videos() / "carphone_pristine.mp4"


def test_without_a_video_two_clips_of_noise_are_kept() -> None:
    clips = judged_clips(HOW, seed=3)
    assert clips.sources == ("noise seed 3", "noise seed 4, squares of 4 px")
    assert (clips.values.shape, clips.values.dtype) == ((2, 4, 3, 32, 48), np.float32)
    assert not np.array_equal(clips.values[0], clips.values[1])


def test_each_video_is_judged_beside_noise() -> None:
    how = Preprocessing(4, 8, 48, (32, 48), (0.4, 0.45, 0.5), (0.2, 0.225, 0.25))
    clips = judged_clips(how, seed=0, videos=(carphone(), carphone()))
    video = "carphone_pristine.mp4 frames 47..71 step 8"
    assert clips.sources == ("noise seed 0", video, video)
    assert len(clips.sources) + len(clips.others) == LEAST_CLIPS + 1
    assert {other.source for other in clips.others} >= {f"{video}, reversed", f"{video}, shifted by half a frame"}
    np.testing.assert_array_equal(clips.values[1], clips.values[2])
    np.testing.assert_array_equal(clips.values[1, ::-1], clips.others[0].make())


@pytest.mark.parametrize("layout", ["FCHW", "CFHW", "FHWC"])
def test_clips_of_grey_levels_are_those_of_the_model_in_the_graphs_order(layout: str) -> None:
    """Noise, the video, and what is made of it: each of them, with ``GraphInput``, gives the model's own clip."""
    own = replace(HOW, resize_short_side=48, color_order="BGR")
    asked = {} if layout == "FHWC" else {"layout": f"B{layout}".lower()}
    config = ExportConfig(frames=4, size="32x48", input="uint8", **asked)  # type: ignore[arg-type]
    takes = GraphInput.asked(config, own)
    how = takes.prepared(own)
    assert (how.layout, takes.spec(1, config.architecture, how).values) == (layout, "BGR in 0..255")
    mine, theirs = (judged_clips(each, seed=0, videos=(carphone(),)) for each in (how, own))
    half_a_level = 0.5 / 255 / min(own.std) + 1e-5
    for got, expected in zip(mine.values, theirs.values, strict=True):
        assert np.abs(takes.of_model(got[None])[0] - expected).max() <= half_a_level
    for ours, others in zip(mine.others, theirs.others, strict=True):
        assert ours.source == others.source
        assert np.abs(takes.of_model(ours.make()[None])[0] - others.make()).max() <= half_a_level


def test_videos_are_shown_with_each_sides_own_best_classes() -> None:
    how = replace(HOW, resize_short_side=48)
    clips = judged_clips(how, seed=0, videos=(carphone(),))
    reference = np.array([[9, 0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7]], np.float32)
    graph = np.array([[9, 0, 0, 0, 0, 0, 0], [7, 6, 5, 4, 3, 2, 1]], np.float32)
    (shown,) = shown_clips(clips, Pair(reference, graph), how, ("a", "b"))
    assert [one.index for one in shown.reference] == [6, 5, 4, 3, 2]
    assert [one.label for one in shown.graph] == ["a", "b", "", "", ""]
    assert (shown.source, shown.clip_frames, len(shown.frames)) == (clips.sources[1], 4, 4)
    graph[0, 0] = np.nan
    assert shown_clips(clips, Pair(reference, graph), how) == shown_clips(clips, None, how) == ()
    assert shown_clips(judged_clips(HOW, seed=0), Pair(reference, reference), HOW) == ()


@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("size", [(32, 48), (112, 112)])
def test_eight_clips_differ_in_content(frames: int, size: tuple[int, int]) -> None:
    how = replace(HOW, frames=frames, crop=size)
    clips = judged_clips(how, seed=3)
    values = [*clips.values, *(other.make() for other in clips.others)]
    assert len(values) == LEAST_CLIPS == 8
    assert {value.shape for value in values} == {(frames, 3, *size)}
    assert len({value.tobytes() for value in values}) == 8
    assert len({*clips.sources, *(other.source for other in clips.others)}) == 8
    again = judged_clips(how, seed=3).others
    assert all(np.array_equal(one.make(), other.make()) for one, other in zip(clips.others, again, strict=True))


def test_noise_is_repeatable_and_covers_the_range_of_pixels() -> None:
    noise = noise_clip(HOW, seed=5)
    np.testing.assert_array_equal(noise, noise_clip(HOW, seed=5))
    for channel, (mean, std) in enumerate(zip(HOW.mean, HOW.std, strict=True)):
        pixels = noise[:, channel] * std + mean
        assert -1e-6 <= pixels.min() < 0.01
        assert 0.99 < pixels.max() <= 1 + 1e-6
        assert pixels.mean() == pytest.approx(0.5, abs=0.02)


def test_stages_are_announced_and_timed_in_order() -> None:
    announced: list[tuple[str, float | None]] = []
    stages = Stages(lambda stage, fraction: announced.append((stage, fraction)))
    with stages("first"):
        sum(range(100_000))
    with stages("second"):
        pass
    assert announced == [("first", None), ("second", None)]
    assert [time.stage for time in stages.times] == ["first", "second"]
    assert stages.times[0].seconds > 0
    assert plain(stages.times[0]).keys() == {"stage", "seconds", "peak_rss_bytes"}


def test_a_stage_that_breaks_has_no_time() -> None:
    stages = Stages()
    with pytest.raises(ValueError, match="broken"), stages("first"):
        raise ValueError("broken")
    assert stages.times == ()
