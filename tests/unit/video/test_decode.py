"""Frames by exact index, against decoding from the start."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ftsf_export.errors import VideoError
from ftsf_export.video.decode import decode_frames, index_frames


def straight(path: Path, wanted: list[int]) -> list[np.ndarray[Any, Any]]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i in wanted]


def number_of(frame: np.ndarray[Any, Any]) -> int:
    """Which frame of ``write_video`` this is: its grey, read away from the white third."""
    return round(float(np.median(frame[8:-8, -16:])) / 8)


@pytest.mark.parametrize(
    ("name", "count", "wanted"),
    [
        ("bigbuckbunny.mp4", 132, [2, 64, 131]),
        ("bikes.mp4", 250, [0, 1, 117, 249]),
        ("carphone_pristine.mp4", 120, [7, 119]),
    ],
)
def test_real_videos_frame_by_frame(real_videos: Path, name: str, count: int, wanted: list[int]) -> None:
    index = index_frames(real_videos / name)
    assert len(index) == count
    got = decode_frames(index, wanted)
    for frame, expected in zip(got, straight(real_videos / name, wanted), strict=True):
        np.testing.assert_array_equal(frame, expected)


def test_frames_come_in_the_order_asked_for_and_may_repeat(write_video: Any) -> None:
    frames = decode_frames(index_frames(write_video("a.mp4", frames=12)), [9, 0, 9, 3])
    assert [number_of(frame) for frame in frames] == [9, 0, 9, 3]
    assert all(frame.flags.c_contiguous and frame.dtype == np.uint8 for frame in frames)


def test_mpeg4_with_b_frames(write_video: Any) -> None:
    path = write_video("b.avi", frames=30, codec="mpeg4", options={"bf": "2", "g": "12"})
    with av.open(str(path)) as container:
        assert any(f.pict_type == av.video.frame.PictureType.B for f in container.decode(video=0))
    index = index_frames(path)
    assert [number_of(f) for f in decode_frames(index, range(len(index)))] == list(range(30))


def test_variable_frame_rate(write_video: Any) -> None:
    times = [0, 1, 2, 10, 11, 40, 41, 42, 90, 91]
    index = index_frames(write_video("v.mp4", frames=10, times=times))
    assert [float(t * index.time_base) for t in index.timestamps] == pytest.approx([t / 25 for t in times])
    assert [number_of(f) for f in decode_frames(index, range(10))] == list(range(10))


def test_a_header_that_promises_too_many_frames_is_not_believed(write_video: Any) -> None:
    """An AVI that lost its last frames, with the index gone: the header still says 20."""
    path = write_video("short.avi", frames=20, codec="mpeg4")
    data = path.read_bytes()
    at = data.rfind(b"00dc", 0, data.rfind(b"idx1"))
    path.write_bytes(data[:at])
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 20
    index = index_frames(path)
    assert len(index) == 19
    assert number_of(decode_frames(index, [18])[0]) == 18
    with pytest.raises(VideoError, match="frame 19 expected, but its frames are 0 to 18"):
        decode_frames(index, [19])


# Rows of the display matrix in an mp4's track header, 16.16 fixed point: (a, b, c, d) of a quarter turn.
_TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@pytest.mark.parametrize(("clockwise", "white"), [(90, "top"), (180, "right"), (270, "bottom")])
def test_the_containers_rotation_is_applied(write_video: Any, clockwise: int, white: str) -> None:
    """The stored picture is white on its left; a player that turns it clockwise shows the white elsewhere."""
    path = write_video("r.mp4", frames=3)
    data = bytearray(path.read_bytes())
    matrix = data.find(b"tkhd") + 4 + 40
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    assert bytes(data[matrix : matrix + 36]) == identity
    a, b, c, d = (value << 16 for value in _TURNS[clockwise])
    data[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    frame = decode_frames(index_frames(path), [0])[0]
    assert frame.shape == ((48, 64, 3) if clockwise == 180 else (64, 48, 3))
    strips = {"top": frame[:8], "bottom": frame[-8:], "left": frame[:, :8], "right": frame[:, -8:]}
    assert [name for name, strip in strips.items() if strip.min() > 200] == [white]


def write_text(path: Path) -> None:
    path.write_text("not a video\n" * 200)


def write_nowhere(path: Path) -> None:
    assert not path.exists()


def write_nothing(path: Path) -> None:
    path.touch()


def write_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def write_sound(path: Path) -> None:
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_playlist_of_the_network(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.txt", write_text),
        ("text.mp4", write_text),
        ("empty.mp4", write_nothing),
        ("noise.mp4", write_noise),
        ("sound.wav", write_sound),
        ("list.m3u8", write_playlist_of_the_network),
        ("missing.mp4", write_nowhere),
        ("folder.mp4", Path.mkdir),
    ],
)
def test_what_is_no_video_is_said_in_one_line(tmp_path: Path, name: str, write: Any) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(VideoError) as caught:
        index_frames(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2


def test_a_truncated_and_a_damaged_video(real_videos: Path, tmp_path: Path) -> None:
    data = bytearray((real_videos / "bikes.mp4").read_bytes())
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match="not a readable video"):
        index_frames(path)
    data[100_000:400_000] = np.random.default_rng(0).bytes(300_000)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"damaged after \d+ frames"):
        index_frames(path)


def test_a_file_that_changes_under_us_is_noticed(write_video: Any) -> None:
    index = index_frames(write_video("a.mp4", frames=12))
    write_video("a.mp4", frames=12, times=[3 * i for i in range(12)])
    with pytest.raises(VideoError, match="the file changed"):
        decode_frames(index, [5])
    write_video("a.mp4", frames=4)
    with pytest.raises(VideoError, match="no longer decodes"):
        decode_frames(index, [1, 8])
