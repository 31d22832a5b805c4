from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import UNCALIBRATED
from ftsf_export.config import BatchRange, ExportConfig
from ftsf_export.errors import UsageError, VideoError
from ftsf_export.pipeline.calibration import CalibrationClips, calibration_clips, calibration_videos, spread
from ftsf_export.pipeline.clips import judged_clips
from ftsf_export.progress import silent
from ftsf_export.video.encode import write_video

INT8 = ExportConfig(precision="int8", frames=2, size=32, dim=64, depth=1)
HOW = replace(Preprocessing.of_timesformer(INT8.architecture), stride=1)
JUDGED = judged_clips(HOW, seed=0)


@pytest.mark.parametrize(
    ("files", "clips", "shares"),
    [(1, 5, (5,)), (3, 3, (1, 1, 1)), (3, 7, (2, 2, 3)), (4, 2, (0, 1, 0, 1)), (2, 1, (0, 1))],
)
def test_clips_are_spread_over_files(files: int, clips: int, shares: tuple[int, ...]) -> None:
    assert spread(files, clips) == shares


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos, one in a folder of its class; each frame has a brightness of its own."""
    (tmp_path / "v" / "class").mkdir(parents=True)
    for place, start in (("a.mp4", 0), ("class/b.mp4", 100)):
        frames = [np.full((32, 32), start + 3 * index, np.uint8) for index in range(30)]
        write_video(tmp_path / "v" / place, frames)
    (tmp_path / "v" / "notes.txt").write_text("no video")
    return tmp_path / "v"


def test_the_files_of_folders_at_any_depth_each_once(videos: Path) -> None:
    found = calibration_videos([videos / "class" / "b.mp4", videos])
    assert [path.name for path in found] == ["b.mp4", "a.mp4"]
    assert calibration_videos([]) == ()
    with pytest.raises(UsageError, match=r"expected a video or a folder of videos, found none at .*missing"):
        calibration_videos([videos / "missing"])


def test_clips_of_videos_over_their_time(videos: Path) -> None:
    config = INT8.replaced(calibration_data=[videos], calibration_clips=6, calibration="max")
    with calibration_clips(config, HOW, JUDGED, silent) as made:
        assert made is not None
        assert made.values.shape == (6, 2, 3, 32, 32)
        # Three moments of each of two videos.
        assert len({round(float(clip.mean()), 3) for clip in made.values}) == 6
        assert (made.record.method, made.record.clips, made.record.videos) == ("max", 6, ("a.mp4", "b.mp4"))
        assert made.record.doubt == ""
        assert sum(1 for _ in made.calls()) == 6
        four = CalibrationClips(made.values, made.record, BatchRange(4, 4, 4))
        calls = list(four.calls())
        assert [call.shape[0] for call in calls] == [4, 4]
        assert np.array_equal(calls[1][2:], made.values[:2])


def test_without_videos_noise_and_what_is_judged(videos: Path) -> None:
    with calibration_clips(INT8, HOW, JUDGED, silent) as made:
        assert made is not None
        assert len(made.values) == 8
        assert made.record.doubt == UNCALIBRATED
    with calibration_clips(replace_precision("fp16"), HOW, JUDGED, silent) as made:
        assert made is None
    (videos / "bad.mp4").write_bytes(b"none")
    with (
        pytest.raises(VideoError, match=r"bad\.mp4"),
        calibration_clips(INT8.replaced(calibration_data=[videos / "bad.mp4"]), HOW, JUDGED, silent),
    ):
        pass


def replace_precision(name: str) -> ExportConfig:
    return INT8.replaced(precision=name)
