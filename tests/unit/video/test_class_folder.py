"""Folders of videos by class: what is found, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftsf_export.errors import VideoError
from ftsf_export.video.class_folder import class_folder
from ftsf_export.video.decode import decode_frames, index_frames
from ftsf_export.video.encode import write_video


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_videos_by_class_in_order(tmp_path: Path) -> None:
    touch(tmp_path / "b/2.MP4", tmp_path / "b/1.mkv", tmp_path / "a/1.webm")
    touch(tmp_path / "a/notes.txt", tmp_path / "a/.1.mp4", tmp_path / ".cache/x.mp4", tmp_path / "README")
    found = class_folder(tmp_path)
    assert found.names == ("a", "b")
    assert [(path.name, name) for path, name in found.files] == [("1.webm", "a"), ("1.mkv", "b"), ("2.MP4", "b")]
    assert [place for _, place in found.indexed(("b", "c", "a"))] == [2, 0, 0]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="missing: expected a folder of videos by class"):
        class_folder(tmp_path / "missing")
    with pytest.raises(VideoError, match="expected a folder for each class"):
        class_folder(tmp_path)
    touch(tmp_path / "a/1.mp4", tmp_path / "b/notes.txt")
    with pytest.raises(VideoError, match=r"b: expected videos .*, got none; remove the folder"):
        class_folder(tmp_path)
    touch(tmp_path / "b/1.mp4")
    with pytest.raises(VideoError, match="class 'b' is not one of the model's: a, c"):
        class_folder(tmp_path).indexed(("a", "c"))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Near to lossless, frame for frame, and the same bytes twice."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 24), dtype=np.uint8)
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, frames)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    index = index_frames(tmp_path / "a.mp4")
    assert len(index) == 3
    for wanted, found in zip(frames, decode_frames(index, range(3)), strict=True):
        assert np.abs(wanted.astype(int) - found[..., 0].astype(int)).mean() < 6
