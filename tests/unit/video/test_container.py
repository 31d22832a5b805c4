"""A video opens nothing but itself, whatever it says, and opens in time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ftsf_export.errors import VideoError
from ftsf_export.video import container
from ftsf_export.video.decode import index_frames


@pytest.fixture
def secret(write_video: Any) -> Path:
    """A video that another file points to."""
    path: Path = write_video("secret.mp4", frames=4)
    return path


def frames_that_ffmpeg_finds(path: str) -> int:
    """What FFmpeg makes of a name when nobody holds it back: that the attack is one."""
    with av.open(path) as opened:
        return sum(1 for _ in opened.decode(video=0))


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n"
ENDLESS = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n"


@pytest.mark.parametrize("name", ["joined.mp4", "joined.ffconcat"])
def test_a_list_of_files_to_join_is_no_video(secret: Path, name: str) -> None:
    path = secret.with_name(name)
    path.write_text(f"ffconcat version 1.0\nfile {secret.name}\n")
    assert frames_that_ffmpeg_finds(str(path)) == 4
    with pytest.raises(VideoError, match=f"{name}: not a readable video of avi"):
        index_frames(path)


@pytest.mark.parametrize("text", [PLAYLIST, ENDLESS])
def test_a_playlist_is_no_video_and_is_not_waited_for(write_video: Any, text: str) -> None:
    part: Path = write_video("part.ts", frames=4)
    path = part.with_name("list.m3u8")
    path.write_text(text.format(part.name))
    if text is PLAYLIST:
        assert frames_that_ffmpeg_finds(str(path)) == 4
    started = time.monotonic()
    with pytest.raises(VideoError, match="not a readable video"):
        index_frames(path)
    assert time.monotonic() - started < 5


def test_a_pattern_in_a_name_is_a_name(tmp_path: Path) -> None:
    """``image2`` would take every picture whose name fits for a frame."""
    for number in (1, 2, 3):
        with av.open(str(tmp_path / f"img{number:03d}.png"), "w", format="image2") as opened:
            stream = opened.add_stream("png", rate=1)
            stream.height, stream.width, stream.pix_fmt = 16, 16, "rgb24"
            opened.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
            opened.mux(stream.encode(None))
    pattern = tmp_path / "img%03d.png"
    assert frames_that_ffmpeg_finds(str(pattern)) == 3
    pattern.write_bytes((tmp_path / "img001.png").read_bytes())
    with pytest.raises(VideoError, match="not a readable video"):
        index_frames(pattern)


@pytest.mark.parametrize("address", ["concat:{}", "subfile,,start,0,end,0,,:{}", "file:{}", "pipe:0"])
def test_an_address_is_the_name_of_a_file_that_is_not_there(
    secret: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(secret.parent)
    with pytest.raises(VideoError, match="found nothing there"):
        index_frames(address.format(secret.name))


def test_without_the_list_of_demuxers_nothing_further_is_opened(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option behind the list holds alone; without both the other file's frames come."""
    path = secret.with_name("joined.mp4")
    path.write_text(f"ffconcat version 1.0\nfile {secret}\n")
    second = {"protocol_whitelist": container._OPTIONS["protocol_whitelist"]}
    monkeypatch.setattr(container, "_OPTIONS", {"safe": "0", "protocol_whitelist": "file"})
    assert len(index_frames(path)) == 4
    monkeypatch.setattr(container, "_OPTIONS", {"safe": "0", **second})
    with pytest.raises(VideoError, match="not a readable video"):
        index_frames(path)


@pytest.mark.parametrize("make", [lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "live.mp4")
    started = time.monotonic()
    with pytest.raises(VideoError, match=r"expected a video file, got a (pipe|device|directory)"):
        index_frames(tmp_path / "live.mp4")
    assert time.monotonic() - started < 10


def test_a_header_that_is_searched_for_in_a_terabyte_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "OPENING_LIMIT_S", 0.3)
    path = tmp_path / "endless.mkv"
    path.write_bytes(b"\x1a\x45\xdf\xa3\x8b\x42\x82\x88matroska")
    os.truncate(path, 1 << 40)
    started = time.monotonic()
    with pytest.raises(VideoError, match=r"endless\.mkv: not opened within 0\.3 s"):
        index_frames(path)
    assert time.monotonic() - started < 10


def test_the_limit_is_of_opening_alone(write_video: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding a long video takes as long as it takes."""
    path = write_video("a.mp4", frames=12)
    with container.open_container(av, path) as opened:
        monkeypatch.setattr(container.time, "monotonic", lambda: 1e12)
        assert sum(1 for _ in opened.decode(video=0)) == 12


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.avi", "mpeg4"), ("a.asf", "mpeg4"), ("a.flv", "flv"), ("a.mkv", "libx264"), ("a.mov", "libx264"),
     ("a.mpg", "mpeg2video"), ("a.ts", "libx264"), ("a.mxf", "mpeg2video"), ("a.nut", "mpeg4"), ("a.ogv", "libvpx"),
     ("a.webm", "libvpx"), ("a.m4v", "mpeg4")],
)  # fmt: skip
def test_every_container_of_the_list_is_read(write_video: Any, name: str, codec: str) -> None:
    assert len(index_frames(write_video(name, frames=6, codec=codec))) == 6


def test_a_title_in_another_encoding_does_not_matter(write_video: Any) -> None:
    """PyAV decodes every text of a container as UTF-8 when it opens it."""
    path: Path = write_video("a.mp4", frames=4)
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"L\xe9vf").replace(b"isomiso2", b"iso\xffiso2"))
    assert len(index_frames(path)) == 4
