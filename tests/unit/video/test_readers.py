"""Videos read by several processes: each once, no more in memory than fits, and nothing left behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from ftsf_export.errors import VideoError
from ftsf_export.video.readers import VideoReaders
from ftsf_export.video.video_clips import VideoClips, clips_from_video
from tests.unit.video.test_one_pass import HOW, Kind


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("read")
    made = Kind("a.mp4").write(folder)
    found = [folder / f"{number}.mp4" for number in range(12)]
    for path in found:
        os.link(made, path)
    return [*found[:5], folder / "missing.mp4", *found[5:]]


def test_every_video_comes_once_with_what_one_process_gives(paths: list[Path]) -> None:
    options = {"clips": 2, "crops": 3}
    with VideoReaders(paths, HOW, processes=2, options=options) as readers:
        found = {read.place: read for read in readers}
    assert [found[place].path for place in range(len(paths))] == paths
    assert isinstance(found[5].outcome, VideoError)
    expected = clips_from_video(paths[0], HOW, clips=2, crops=3)
    for place, read in found.items():
        if place != 5:
            assert isinstance(read.outcome, VideoClips)
            assert read.outcome.frames == expected.frames
            np.testing.assert_array_equal(read.outcome.values, expected.values)


def test_nobody_reads_on_while_nobody_asks(paths: list[Path]) -> None:
    """Two readers hold a video each, two more wait in the queue: no fifth is begun."""
    begun: list[Path] = []

    def asked_for() -> Iterator[Path]:
        for path in paths:
            begun.append(path)
            yield path

    with VideoReaders(asked_for(), HOW, processes=2) as readers:
        until = time.monotonic() + 20
        while len(begun) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        assert len(begun) == 4
        assert readers.waiting()
        assert sum(1 for _ in readers) == len(paths)


def test_large_clips_wait_one_by_one(paths: list[Path]) -> None:
    """A thousand views of 8 frames of 24 px take 55 MB: nine of them are the most."""
    assert VideoReaders(paths, HOW, processes=16)._done.maxsize == 16
    assert VideoReaders(paths, HOW, processes=16, options={"clips": 1000})._done.maxsize == 9
    assert VideoReaders(paths, HOW, processes=16, options={"clips": 1000, "crops": 300})._done.maxsize == 1


def test_leaving_early_leaves_no_process_and_no_thread(paths: list[Path]) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    threads = threading.active_count()
    with VideoReaders(paths * 50, HOW, processes=2) as readers:
        next(iter(readers))
        assert len(psutil.Process().children(recursive=True)) > len(before)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert threading.active_count() <= threads
